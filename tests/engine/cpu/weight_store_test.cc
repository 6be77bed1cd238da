#include "engine/cpu/weight_store.h"

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

using testing::HasSubstr;

class WeightStoreTest : public testing::Test {
 protected:
  const std::vector<float> floats_ = {1, 2, 3, 4, 5, 6};
  const std::vector<uint16_t> halves_ = {0x3f80, 0x4000, 0xbf80, 0, 0, 0};  // bf16: 1, 2, -1
  ThreadPool pool_{2};
  WeightStore store_;
};

TEST_F(WeightStoreTest, KeepsViews) {
  const Tensor matrix{floats_.data(), DType::kF32, 2, 3};
  const WeightId id = *store_.Add({&matrix, 1}, pool_);
  EXPECT_EQ(store_.matrix(id).data, floats_.data());
  EXPECT_EQ(store_.matrix(id).rows, 2);
  EXPECT_EQ(store_.bytes(), 24);
}

TEST_F(WeightStoreTest, ALoneRowIsThereAsF32) {
  const Tensor row{halves_.data(), DType::kBF16, 1, 3};
  const WeightId id = *store_.Add({&row, 1}, pool_);
  const float* vector = store_.vector(id);
  EXPECT_EQ(std::vector<float>(vector, vector + 3), (std::vector<float>{1, 2, -1}));
  EXPECT_EQ(store_.matrix(id).type, DType::kBF16) << "a map of rank 1 is a matrix, too";
}

TEST_F(WeightStoreTest, AnIdWithoutIndexHasNoVector) {
  EXPECT_EQ(store_.vector(WeightId()), nullptr);
}

TEST_F(WeightStoreTest, AGroupOfSeveralTypesIsF32) {
  const Tensor group[] = {{floats_.data(), DType::kF32, 2, 3},
                          {halves_.data(), DType::kBF16, 1, 3}};
  const WeightId id = *store_.Add(group, pool_);
  EXPECT_EQ(store_.matrix(id, 0).data, floats_.data());
  EXPECT_EQ(store_.matrix(id, 1).type, DType::kF32);
  const auto* copy = static_cast<const float*>(store_.matrix(id, 1).data);
  EXPECT_EQ(std::vector<float>(copy, copy + 3), (std::vector<float>{1, 2, -1}));
}

TEST_F(WeightStoreTest, CountsSharedMemoryOnce) {
  const Tensor matrix{floats_.data(), DType::kF32, 2, 3};
  const Tensor other{halves_.data(), DType::kBF16, 2, 3};
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(store_.Add({&matrix, 1}, pool_).ok());
  EXPECT_EQ(store_.bytes(), 24);
  ASSERT_TRUE(store_.Add({&other, 1}, pool_).ok());
  EXPECT_EQ(store_.bytes(), 24 + 12);
}

TEST_F(WeightStoreTest, RefusesWhatIsNoGroup) {
  const Tensor group[] = {{floats_.data(), DType::kF32, 2, 3}, {floats_.data(), DType::kF32, 3, 2}};
  const Tensor empty{nullptr, DType::kF32, 2, 3};
  const Tensor flat{floats_.data(), DType::kF32, 0, 3};
  EXPECT_THAT(std::string(store_.Add({}, pool_).status().message()), HasSubstr("not be empty"));
  EXPECT_THAT(std::string(store_.Add(group, pool_).status().message()),
              HasSubstr("[.., 3] and [.., 2]"));
  EXPECT_THAT(std::string(store_.Add({&empty, 1}, pool_).status().message()),
              HasSubstr("[2, 3] is empty"));
  EXPECT_THAT(std::string(store_.Add({&flat, 1}, pool_).status().message()),
              HasSubstr("[0, 3] is empty"));
  EXPECT_EQ(store_.bytes(), 0);
}

}  // namespace
}  // namespace skipstone
