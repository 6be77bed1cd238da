#include "engine/cpu/divergence.h"

#include <cmath>
#include <limits>
#include <vector>

#include "tests/engine/cpu/instruction_sets.h"
#include "tests/engine/cpu/random_floats.h"

namespace skipstone {
namespace {

class DivergenceTest : public InstructionSetTest {
 protected:
  static float Of(const std::vector<float>& p, const std::vector<float>& q) {
    return KlDivergence(p, q);
  }

  static double LogSum(const std::vector<float>& x) {
    double max = x[0], sum = 0;
    for (const double v : x) max = std::max(max, v);
    for (const double v : x) sum += std::exp(v - max);
    return max + std::log(sum);
  }

  static double Expected(const std::vector<float>& p, const std::vector<float>& q) {
    const double log_p = LogSum(p), log_q = LogSum(q);
    double kl = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      kl += std::exp(p[i] - log_p) * ((p[i] - log_p) - (q[i] - log_q));
    }
    return kl;
  }
};

TEST_P(DivergenceTest, IsFloat64sWhateverItsSize) {
  for (const int64_t n : {1, 2, 3, 7, 8, 9, 16, 37, 61, 1000, 32000}) {
    for (const float difference : {4.0f, 0.5f, 1e-2f}) {
      const std::vector<float> p = RandomFloats(n, 1, 3.0f);
      std::vector<float> q = RandomFloats(n, 2, difference);
      for (int64_t i = 0; i < n; ++i) q[i] += p[i];
      const double expected = Expected(p, q);
      EXPECT_NEAR(Of(p, q), expected, 1e-6 + 1e-6 * expected) << n << " by " << difference;
    }
  }
}

TEST_P(DivergenceTest, IsZeroOfEqualLogitsToTheBit) {
  for (const int64_t n : {1, 61, 32000}) {
    const std::vector<float> p = RandomFloats(n, n, 10.0f);
    EXPECT_EQ(Of(p, p), 0.0f) << n;
  }
}

TEST_P(DivergenceTest, IsNeverNegative) {
  for (int seed = 0; seed < 200; ++seed) {
    const std::vector<float> p = RandomFloats(500, seed, 5.0f);
    std::vector<float> q = p;
    q[seed] += 1e-6f;
    EXPECT_GE(Of(p, q), 0.0f);
    for (float& x : q) x += 3.0f;  // the same distribution
    const float kl = Of(p, q);
    EXPECT_GE(kl, 0.0f);
    EXPECT_LT(kl, 2e-6f);
  }
}

TEST_P(DivergenceTest, TakesLogitsThatOverflowAnExponential) {
  const std::vector<float> p = {1000.0f, 999.0f, -1000.0f};
  const std::vector<float> q = {-500.0f, -500.0f, -3000.0f};
  EXPECT_NEAR(Of(p, q), Expected(p, q), 1e-5);
}

TEST_P(DivergenceTest, IsNotFiniteWhereALogitIsNot) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    const std::vector<float> good = RandomFloats(61, 1);
    std::vector<float> broken = good;
    broken[5] = bad;
    EXPECT_FALSE(std::isfinite(Of(good, broken))) << bad;
    EXPECT_FALSE(std::isfinite(Of(broken, good))) << bad;
  }
}

SKIPSTONE_ON_INSTRUCTION_SETS(DivergenceTest);

}  // namespace
}  // namespace skipstone
