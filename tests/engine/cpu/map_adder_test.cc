// The forms of maps are tested with the other stages (backend_stages.h); here, what a row's result
// does not depend on.
#include "engine/cpu/map_adder.h"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/cpu/random_floats.h"

namespace skipstone {
namespace {

constexpr int kHidden = 45;
constexpr int kRows = 100;

class MapAdderTest : public testing::Test {
 protected:
  WeightId Add(int64_t rows, int64_t cols) {
    memory_.push_back(RandomFloats(rows * cols, memory_.size() + 1, 0.2f));
    const Tensor tensor{memory_.back().data(), DType::kF32, rows, cols};
    return *weights_.Add({&tensor, 1}, pool_);
  }

  // The residual behind the maps of `lists`.
  Matrix Run(const std::array<RowList, 4>& lists, int threads) {
    ThreadPool pool(threads);
    MatMul matmul(pool);
    MapAdder adder({.hidden = kHidden}, weights_, pool, matmul);
    Matrix residual(kRows, kHidden), normed(kRows, kHidden), inner(kRows, kHidden);
    for (int r = 0; r < kRows; ++r) {
      std::ranges::copy(RandomFloats(kHidden, 1000 + r), residual.row(r));
    }
    adder.Run(lists, maps_, norm_.data(), {.residual = residual, .normed = normed, .inner = inner});
    return residual;
  }

  ThreadPool pool_{1};
  WeightStore weights_;
  std::deque<std::vector<float>> memory_;
  const std::vector<float> norm_ = RandomFloats(kHidden, 99);
  const std::vector<MapWeights> maps_ = {
      {.bias = Add(1, kHidden)},
      {.bias = Add(1, kHidden), .scale = Add(1, kHidden)},
      {.bias = Add(1, kHidden), .down = Add(3, kHidden), .up = Add(kHidden, 3)},
      {.up = Add(kHidden, kHidden)},
  };
};

TEST_F(MapAdderTest, ARowsBitsDependOnItAndItsMapAlone) {
  // Row r has map r % 5; those of 4 have none.
  std::array<std::vector<int32_t>, 4> index;
  std::array<RowList, 4> mixed;
  for (int r = 0; r < kRows; ++r) {
    if (r % 5 < 4) index[r % 5].push_back(r);
  }
  for (int i = 0; i < 4; ++i) {
    mixed[i] = {.count = static_cast<int32_t>(index[i].size()), .index = index[i].data()};
  }
  for (const int threads : {1, 3}) {
    const Matrix together = Run(mixed, threads);
    const Matrix before = Run({}, 1);
    for (int r = 0; r < kRows; r += 7) {
      std::array<RowList, 4> alone;
      if (r % 5 < 4) alone[r % 5] = {.begin = r, .count = 1};
      const Matrix expected = Run(alone, 1);
      EXPECT_TRUE(std::equal(expected.row(r), expected.row(r) + kHidden, together.row(r))) << r;
      const bool changed = !std::equal(before.row(r), before.row(r) + kHidden, together.row(r));
      EXPECT_EQ(changed, r % 5 < 4) << r;
    }
  }
}

TEST_F(MapAdderTest, ManyRowsOfOneMap) {
  const Matrix together = Run({RowList{}, {}, {.begin = 2, .count = 90}, {}}, 3);
  for (const int r : {2, 40, 91}) {
    const Matrix alone = Run({RowList{}, {}, {.begin = r, .count = 1}, {}}, 1);
    EXPECT_TRUE(std::equal(alone.row(r), alone.row(r) + kHidden, together.row(r))) << r;
  }
}

}  // namespace
}  // namespace skipstone
