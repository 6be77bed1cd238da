#include "engine/cpu/vector_ops.h"

#include <cmath>
#include <limits>
#include <vector>

#include "engine/backend/widen.h"
#include "engine/cpu/dot_block.h"
#include "engine/cpu/simd.h"
#include "gtest/gtest.h"
#include "hwy/targets.h"

namespace skipstone {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Every instruction set that the kernels are compiled for and this CPU has.
class VectorOpsTest : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { Choose(GetParam()); }
  void TearDown() override { Choose(0); }

 private:
  static void Choose(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().DeInit();
  }
};

// As many numbers as whole vectors and a tail hold.
constexpr int kCount = 37;

TEST_P(VectorOpsTest, WidensEvery16BitNumber) {
  for (const DType type : {DType::kF16, DType::kBF16}) {
    std::vector<uint16_t> all(1 << 16);
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
    std::vector<float> wide(all.size());
    for (size_t i = 0; i < all.size(); i += kCount) {
      const auto count = static_cast<int64_t>(std::min<size_t>(kCount, all.size() - i));
      ToFloat(&all[i], type, count, &wide[i]);
    }
    for (size_t i = 0; i < all.size(); ++i) {
      const float expected = ElementAt(all.data(), type, static_cast<int64_t>(i));
      if (std::isfinite(expected)) {
        ASSERT_EQ(wide[i], expected) << NameOf(type) << " " << i;
      } else {
        ASSERT_FALSE(std::isfinite(wide[i])) << NameOf(type) << " " << i;
      }
    }
  }
}

// For a single row and for more rows than a tile has.
TEST_P(VectorOpsTest, ProductsShowF16NumbersThatAreNotFinite) {
  const std::vector<float> input(kCount, 1.0f);
  std::vector<float> scratch(kDotScratchFloats + 16);
  float* const aligned =
      reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
  for (const uint16_t bad : {0x7c00, 0xfc00, 0x7e00}) {
    for (int at = 0; at < kCount; ++at) {
      std::vector<uint16_t> weights(kCount, 0x3c00);
      weights[at] = bad;
      const void* const output = weights.data();
      for (const int rows : {1, 20}) {
        const std::vector<const float*> inputs(rows, input.data());
        std::vector<float> sums(rows);
        DotBlock({.inputs = inputs.data(),
                  .rows = rows,
                  .outputs = &output,
                  .num_outputs = 1,
                  .type = DType::kF16,
                  .k = kCount,
                  .sums = sums.data(),
                  .sums_stride = 1,
                  .scratch = aligned});
        for (const float sum : sums) EXPECT_FALSE(std::isfinite(sum)) << at << ", " << rows;
      }
    }
  }
}

TEST_P(VectorOpsTest, FindsTheExtent) {
  std::vector<float> values(kCount, -2.0f);
  for (int at = 0; at < kCount; ++at) {
    values[at] = 3.0f;
    const Extent extent = ExtentOf(values.data(), kCount);
    EXPECT_TRUE(extent.finite);
    EXPECT_EQ(extent.max, 3.0f);
    for (const float bad : {std::nanf(""), kInfinity, -kInfinity}) {
      values[at] = bad;
      EXPECT_FALSE(ExtentOf(values.data(), kCount).finite) << bad << " at " << at;
    }
    values[at] = -2.0f;
  }
  EXPECT_EQ(ExtentOf(values.data(), 1).max, -2.0f);
}

// Zeros would look like a result.
TEST_P(VectorOpsTest, ARowWhoseSquaresOverflowBecomesNan) {
  std::vector<float> row(kCount, 1.0f);
  const std::vector<float> ones(kCount, 1.0f);
  std::vector<float> out(kCount);
  row[3] = 1e18f;
  RmsNorm(row.data(), ones.data(), 1e-5f, kCount, out.data());
  for (const float x : out) EXPECT_TRUE(std::isfinite(x));
  row[3] = 1e20f;
  RmsNorm(row.data(), ones.data(), 1e-5f, kCount, out.data());
  for (const float x : out) EXPECT_TRUE(std::isnan(x));
}

INSTANTIATE_TEST_SUITE_P(Targets, VectorOpsTest,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& info) { return hwy::TargetName(info.param); });

}  // namespace
}  // namespace skipstone
