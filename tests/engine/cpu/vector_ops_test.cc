#include "engine/cpu/vector_ops.h"

#include <cmath>
#include <limits>
#include <vector>

#include "engine/backend/widen.h"
#include "tests/engine/cpu/instruction_sets.h"
#include "tests/engine/cpu/random_floats.h"

namespace skipstone {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class VectorOpsTest : public InstructionSetTest {};

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

// Lengths below, at and beyond whole vectors; `out` is a vector of its own, so that a write past
// its end shows.
constexpr int64_t kLengths[] = {1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 37, 64, 129, 1000};

TEST_P(VectorOpsTest, RmsNormIsFloat64s) {
  for (const int64_t n : kLengths) {
    const std::vector<float> in = RandomFloats(n, 1, 2.0f);
    const std::vector<float> weight = RandomFloats(n, 2);
    std::vector<float> out(n);
    for (const float epsilon : {1e-5f, 0.5f}) {
      double squares = 0;
      for (const float x : in) squares += double{x} * x;
      RmsNorm(in.data(), weight.data(), epsilon, n, out.data());
      for (int64_t i = 0; i < n; ++i) {
        const double expected = in[i] / std::sqrt(squares / n + epsilon) * weight[i];
        ASSERT_NEAR(out[i], expected, 2e-6 * (1 + std::abs(expected))) << i << " of " << n;
      }
    }
  }
}

TEST_P(VectorOpsTest, AddScaledNormIsFloat64s) {
  for (const int64_t n : kLengths) {
    const std::vector<float> before = RandomFloats(n, 1, 2.0f);
    const std::vector<float> weight = RandomFloats(n, 2);
    const std::vector<float> scale = RandomFloats(n, 3);
    const std::vector<float> bias = RandomFloats(n, 4);
    double squares = 0;
    for (const float x : before) squares += double{x} * x;
    for (const float* added : {bias.data(), static_cast<const float*>(nullptr)}) {
      std::vector<float> x = before;
      x.push_back(7.0f);
      AddScaledNorm(weight.data(), 0.1f, scale.data(), added, n, x.data());
      for (int64_t i = 0; i < n; ++i) {
        const double normed = before[i] / std::sqrt(squares / n + 0.1f) * weight[i];
        const double expected = before[i] + normed * scale[i] + (added ? added[i] : 0.0f);
        ASSERT_NEAR(x[i], expected, 4e-6 * (1 + std::abs(expected))) << i << " of " << n;
      }
      EXPECT_EQ(x[n], 7.0f) << n;
    }
  }
}

TEST_P(VectorOpsTest, SwiGluIsFloat64s) {
  for (const int64_t n : kLengths) {
    std::vector<float> gate = RandomFloats(n, 1, 4.0f);
    gate[0] = -200.0f;  // the exponential overflows
    gate[n / 2] = 200.0f;
    const std::vector<float> before = gate;
    const std::vector<float> up = RandomFloats(n, 2);
    SwiGlu(up.data(), n, gate.data());
    for (int64_t i = 0; i < n; ++i) {
      const double expected = before[i] / (1 + std::exp(-double{before[i]})) * up[i];
      ASSERT_NEAR(gate[i], expected, 1e-6 * (1 + std::abs(expected))) << i << " of " << n;
    }
  }
}

TEST_P(VectorOpsTest, AddToAddsEveryElement) {
  for (const int64_t n : kLengths) {
    const std::vector<float> in = RandomFloats(n, 1);
    std::vector<float> out = RandomFloats(n, 2);
    const std::vector<float> before = out;
    AddTo(in.data(), n, out.data());
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(out[i], before[i] + in[i]) << i << " of " << n;
  }
}

TEST_P(VectorOpsTest, ScaleMultipliesEveryElement) {
  for (const int64_t n : kLengths) {
    const std::vector<float> in = RandomFloats(n, 1);
    std::vector<float> out(n + 1, 7.0f);
    Scale(in.data(), 0.3f, n, out.data());
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(out[i], in[i] * 0.3f) << i << " of " << n;
    EXPECT_EQ(out[n], 7.0f) << n;
    Scale(out.data(), 3.0f, n, out.data());
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(out[i], in[i] * 0.3f * 3.0f) << i << " of " << n;
  }
}

TEST_P(VectorOpsTest, RotatesThePairsOfEachHead) {
  for (const int half : {4, 8, 12, 20, 64}) {
    constexpr int kHeads = 3;
    const std::vector<float> angles = RandomFloats(half, 1);
    std::vector<float> cosines, sines;
    for (const float a : angles) cosines.push_back(std::cos(a)), sines.push_back(std::sin(a));
    std::vector<float> x = RandomFloats(kHeads * 2 * half, 2);
    const std::vector<float> before = x;
    Rotate(cosines.data(), sines.data(), kHeads, half, x.data());
    for (int h = 0; h < kHeads; ++h) {
      for (int i = 0; i < half; ++i) {
        const int first = h * 2 * half + i;
        const double c = cosines[i], s = sines[i], a = before[first], b = before[first + half];
        ASSERT_NEAR(x[first], a * c - b * s, 1e-6) << "head " << h << " pair " << i;
        ASSERT_NEAR(x[first + half], b * c + a * s, 1e-6) << "head " << h << " pair " << i;
      }
    }
  }
}

TEST_P(VectorOpsTest, MaxSeesEveryElement) {
  EXPECT_EQ(MaxOf(nullptr, 0), -kInfinity);
  for (const int64_t n : kLengths) {
    std::vector<float> values(n, -3.0f);
    for (int64_t at = 0; at < n; ++at) {
      values[at] = -2.0f;
      ASSERT_EQ(MaxOf(values.data(), n), -2.0f) << at << " of " << n;
      values[at] = -3.0f;
    }
  }
}

TEST_P(VectorOpsTest, ExponentialsAndTheirSumAreFloat64s) {
  for (const int64_t n : kLengths) {
    std::vector<float> in = RandomFloats(n, 1, 5.0f);
    in[n - 1] = -kInfinity;  // of a suppressed id
    in[0] = 9.0f;
    const float max = 20.0f;
    double sum = 0;
    for (const float x : in) sum += std::exp(double{x} - max);
    std::vector<float> out(n);
    EXPECT_NEAR(ExpAndSum(in.data(), max, n, out.data()) / sum, 1, 1e-6) << n;
    EXPECT_NEAR(SumOfExp(in.data(), max, n) / sum, 1, 1e-6) << n;
    for (int64_t i = 0; i < n; ++i) {
      const double expected = std::exp(double{in[i] - max});
      ASSERT_NEAR(out[i], expected, 1e-6 * expected + 1e-37) << i << " of " << n;
    }
    ExpAndSum(in.data(), max, n, in.data());
    EXPECT_EQ(in, out) << "in place";
  }
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

SKIPSTONE_ON_INSTRUCTION_SETS(VectorOpsTest);

}  // namespace
}  // namespace skipstone
