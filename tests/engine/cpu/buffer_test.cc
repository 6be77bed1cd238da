#include "engine/cpu/buffer.h"

#include <utility>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

// More than there are addresses.
constexpr int64_t kTooMuch = int64_t{1} << 60;

TEST(BufferTest, IsZeroedAndWritable) {
  for (const int64_t bytes : {1, 4096, 4097, 9 << 20}) {
    const Buffer buffer = Buffer::Map(bytes);
    ASSERT_NE(buffer.as<char>(), nullptr);
    EXPECT_EQ(buffer.bytes(), bytes);
    EXPECT_EQ(buffer.as<char>()[0] + buffer.as<char>()[bytes - 1], 0);
    buffer.as<char>()[bytes - 1] = 1;
  }
}

TEST(BufferTest, NothingIsNull) {
  EXPECT_EQ(Buffer().as<char>(), nullptr);
  EXPECT_EQ(Buffer::Map(0).as<char>(), nullptr);
  const Buffer refused = Buffer::Map(kTooMuch);
  EXPECT_EQ(refused.as<char>(), nullptr);
  EXPECT_EQ(refused.bytes(), 0);
}

TEST(BufferTest, MovesWithWhatItHolds) {
  Buffer from = Buffer::Map(100);
  from.as<int>()[3] = 42;
  int* const data = from.as<int>();
  Buffer to = std::move(from);
  EXPECT_EQ(from.as<int>(), nullptr);  // NOLINT: what is left is promised
  EXPECT_EQ(to.as<int>(), data);
  Buffer last = Buffer::Map(4096);
  last = std::move(to);
  EXPECT_EQ(last.as<int>()[3], 42);
  EXPECT_EQ(last.bytes(), 100);
}

// By an odd number of cache lines of 16 floats, and far enough for a row.
TEST(MatrixTest, RowsLieApart) {
  for (const int64_t cols : {1, 15, 16, 17, 32, 33, 100, 4096}) {
    const Matrix matrix(3, cols);
    ASSERT_TRUE(matrix.valid());
    EXPECT_GE(matrix.stride(), cols);
    EXPECT_LT(matrix.stride(), cols + 32);
    EXPECT_EQ(matrix.stride() % 32, 16) << cols;
    EXPECT_EQ(matrix.row(2) - matrix.row(0), 2 * matrix.stride());
    EXPECT_EQ(matrix.bytes(), 3 * matrix.stride() * 4);
    matrix.row(2)[matrix.stride() - 1] = 1;
  }
}

TEST(MatrixTest, SaysThatThereIsNoMemory) {
  EXPECT_FALSE(Matrix().valid());
  EXPECT_FALSE(Matrix(int64_t{1} << 40, int64_t{1} << 18).valid());
}

}  // namespace
}  // namespace skipstone
