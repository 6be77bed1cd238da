#include "base/statistics/sequential_proportion.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/base/statistics/fixture.h"

namespace skipstone::statistics {
namespace {

TEST(SequentialProportionTest, AsManySuccessesAsAllowedAreNoEvidence) {
  EXPECT_EQ(ProportionGreaterPValue({1000, 10}, 0.01, {}), 1);
  EXPECT_EQ(ProportionGreaterPValue({1000, 0}, 0.01, {}), 1);
  EXPECT_LT(*ProportionGreaterPValue({1000, 40}, 0.01, {}), 1e-6);
}

// The supermartingale of the definition: likelihood ratios averaged over the beta mixture above the
// limit, integrated numerically.
TEST(SequentialProportionTest, IsTheMixtureOverLargerProbabilities) {
  const SequentialOptions options = {.alpha = 0.05, .tuning = 300};
  const double rho = *OneSidedMixtureScale(options);
  const double concentration = 1 / (rho * rho);
  const double limit = 0.2;
  double prior = 0;
  double ratio = 0;
  const int steps = 200'000;
  for (int i = 0; i < steps; ++i) {
    const double q = limit + (1 - limit) * (i + 0.5) / steps;
    const double density = std::exp((concentration * limit - 1) * std::log(q) +
                                    (concentration * (1 - limit) - 1) * std::log1p(-q));
    prior += density;
    ratio += density * std::exp(35 * std::log(q / limit) + 85 * std::log((1 - q) / (1 - limit)));
  }
  EXPECT_TRUE(IsNear(*ProportionGreaterPValue({120, 35}, limit, options), prior / ratio, 1e-6));
}

TEST(SequentialProportionTest, EachTrialsExpectedRatioIsOne) {
  // E[1 / p] over the n-th trial given the first n - 1, at the limit itself: exactly a martingale.
  const double limit = 0.03;
  for (const int64_t s : {5, 8, 12}) {
    const auto factor = [&](int64_t n, int64_t successes) {
      return 1 / *ProportionGreaterPValue({n, successes}, limit, {});
    };
    ASSERT_GT(factor(100, s), 1);  // below, p-values are cut at 1
    EXPECT_TRUE(
        IsNear(limit * factor(101, s + 1) + (1 - limit) * factor(101, s), factor(100, s), 1e-10));
  }
}

TEST(SequentialProportionTest, IntervalsEndWhereTheMixtureRejects) {
  const auto interval = SequentialProportionInterval({400, 30}, {});
  ASSERT_TRUE(interval.has_value());
  EXPECT_GT(interval->low, 0.02);
  EXPECT_LT(interval->low, 0.075);
  EXPECT_GT(interval->high, 0.075);
  EXPECT_LT(interval->high, 0.2);
  const auto mirrored = SequentialProportionInterval({400, 370}, {});
  EXPECT_TRUE(IsNear(mirrored->low, 1 - interval->high, 1e-12));
  EXPECT_TRUE(IsNear(mirrored->high, 1 - interval->low, 1e-12));
  EXPECT_EQ(SequentialProportionInterval({50, 0}, {})->low, 0);
  EXPECT_LT(SequentialProportionInterval({5000, 0}, {})->high, 0.01);
  EXPECT_EQ(SequentialProportionInterval({50, 50}, {})->high, 1);
  // At the mixture's best n, about as wide as the asymptotic interval.
  const auto wide = SequentialProportionInterval({5000, 2500}, {});
  const double asymptotic = *SequentialCritical(5000, {}) * std::sqrt(0.25 / 5000);
  EXPECT_NEAR((wide->high - wide->low) / 2 / asymptotic, 1, 0.02);
}

// At all looks together, also for rare successes, from the first trial on.
TEST(SequentialProportionTest, IntervalsHoldAtEveryLook) {
  for (const double p : {0.002, 0.3}) {
    int missed = 0;
    Inputs in(9);
    for (int run = 0; run < 1000; ++run) {
      Successes counts;
      bool is_missed = false;
      for (int look = 0; look < 50 && !is_missed; ++look) {
        for (int i = 0; i < 40; ++i) counts.successes += in.Uniform() < p;
        counts.n += 40;
        is_missed = !SequentialProportionInterval(counts, {.tuning = 1000})->Contains(p);
      }
      missed += is_missed;
    }
    EXPECT_LE(missed, 50 + 21) << p;  // 3 deviations of 1,000 trials at alpha = 0.05
  }
}

TEST(SequentialProportionTest, QuantilesHoldAtEveryLook) {
  int missed = 0;
  double width = 0;
  const double truth = -std::log(0.1);  // 90 % of the exponential distribution
  Inputs in(10);
  for (int run = 0; run < 500; ++run) {
    std::vector<double> values;
    bool is_missed = false;
    for (int look = 0; look < 60; ++look) {
      for (int i = 0; i < 20; ++i) values.push_back(-std::log(1 - in.Uniform()));
      std::sort(values.begin(), values.end());
      const auto interval = SequentialQuantileInterval(values, 0.9, {.tuning = 1000});
      ASSERT_TRUE(interval.has_value());
      is_missed = is_missed || !interval->Contains(truth);
      if (look == 59) width += (interval->high - interval->low) / 500;
    }
    missed += is_missed;
  }
  EXPECT_LE(missed, 25 + 15);
  EXPECT_LT(width, 0.75);  // of one look: 2 * 1.96 * sqrt(0.09 / 1200) / 0.1 = 0.34
}

TEST(SequentialProportionTest, AQuantileEndsWhereTheTestsAtHalfOfAlphaReject) {
  std::vector<double> values(1000);
  for (int i = 0; i < 1000; ++i) values[i] = i;  // as many lie below each
  const auto interval = SequentialQuantileInterval(values, 0.8, {});
  const auto p_value = [](double successes, double limit) {
    const Successes counts = {1000, static_cast<int64_t>(successes)};
    return *ProportionGreaterPValue(counts, limit, {.alpha = 0.025});
  };
  // Values above what is just below the interval, and above its end.
  EXPECT_LE(p_value(1000 - interval->low, 1 - 0.8), 0.025);
  EXPECT_GT(p_value(1000 - interval->low - 1, 1 - 0.8), 0.025);
  EXPECT_LE(p_value(interval->high + 1, 0.8), 0.025);
  EXPECT_GT(p_value(interval->high, 0.8), 0.025);
}

TEST(SequentialProportionTest, EqualValuesDoAQuantileNoHarm) {
  // 95 % zeros: the 90 % quantile is 0 and stays so, though the share of values <= 0 is not 90 %.
  std::vector<double> values(2000, 0.0);
  std::fill(values.begin() + 1900, values.end(), 1.0);
  const auto interval = SequentialQuantileInterval(values, 0.9, {});
  EXPECT_EQ(interval->low, 0);
  EXPECT_EQ(interval->high, 0);
}

TEST(SequentialProportionTest, FewValuesBoundAQuantileOnOneSideOnly) {
  std::vector<double> values(200);
  for (int i = 0; i < 200; ++i) values[i] = i;
  const auto interval = SequentialQuantileInterval(values, 0.99, {});
  EXPECT_TRUE(std::isfinite(interval->low));
  EXPECT_EQ(interval->high, INFINITY);
}

TEST(SequentialProportionTest, BadInputGivesNothing) {
  EXPECT_FALSE(ProportionGreaterPValue({0, 0}, 0.1, {}).has_value());
  EXPECT_FALSE(ProportionGreaterPValue({5, 6}, 0.1, {}).has_value());
  EXPECT_FALSE(ProportionGreaterPValue({5, -1}, 0.1, {}).has_value());
  EXPECT_FALSE(ProportionGreaterPValue({5, 1}, 0, {}).has_value());
  EXPECT_FALSE(ProportionGreaterPValue({5, 1}, NAN, {}).has_value());
  EXPECT_FALSE(ProportionGreaterPValue({5, 1}, 0.1, {.alpha = 0.6}).has_value());
  EXPECT_FALSE(SequentialProportionInterval({0, 0}, {}).has_value());
  EXPECT_FALSE(SequentialProportionInterval({5, 1}, {.alpha = 1}).has_value());
  EXPECT_FALSE(SequentialQuantileInterval({}, 0.5, {}).has_value());
  const std::vector<double> values = {1, NAN};
  EXPECT_FALSE(SequentialQuantileInterval(values, 0.5, {}).has_value());
  EXPECT_FALSE(SequentialQuantileInterval(std::vector{1.0}, 1, {}).has_value());
}

}  // namespace
}  // namespace skipstone::statistics
