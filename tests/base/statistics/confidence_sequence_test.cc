#include "base/statistics/confidence_sequence.h"

#include <cmath>

#include "tests/base/statistics/fixture.h"

namespace skipstone::statistics {
namespace {

// Intervals and two-sided p-values are checked against gbstats in effects_test.cc.

Effect EffectOf(double value, double variance, int64_t n) {
  return {.value = value, .variance = variance, .n = n, .degrees = n - 1.0};
}

TEST(ConfidenceSequenceTest, ThePValueIsWhereTheIntervalEnds) {
  const SequentialOptions options = {.alpha = 0.03, .tuning = 700};
  const Effect effect = EffectOf(1.25, 0.04, 400);
  const Interval interval = *SequentialInterval(effect, options);
  EXPECT_TRUE(IsNear(*SequentialPValue(effect, interval.low, options), 0.03, 1e-12));
  EXPECT_TRUE(IsNear(*SequentialPValue(effect, interval.high, options), 0.03, 1e-12));
  EXPECT_EQ(*SequentialPValue(effect, 1.25, options), 1);
  const double bound = *SequentialLowerBound(effect, options);
  EXPECT_TRUE(IsNear(*SequentialGreaterPValue(effect, bound, options), 0.03, 1e-12));
  EXPECT_GT(bound, interval.low);
  EXPECT_EQ(*SequentialGreaterPValue(effect, 1.25, options), 1);
  EXPECT_EQ(*SequentialGreaterPValue(effect, 9, options), 1);
}

TEST(ConfidenceSequenceTest, IsAboutTightestAtItsTuning) {
  // Against sequences tuned for less and for more, in standard errors.
  for (const double n : {100.0, 5'000.0, 1e6}) {
    const double own = *SequentialCritical(n, {.tuning = n});
    EXPECT_LT(own, *SequentialCritical(n, {.tuning = n / 4})) << n;
    EXPECT_LT(own, *SequentialCritical(n, {.tuning = n * 4})) << n;
    EXPECT_NEAR(own, 3.04, 0.01);  // where one look has 1.96
  }
}

// The closed form lies above the half-normal mixture's exact boundary, and not by much: the
// martingale 2 / sqrt(w + 1) exp(z^2 w / 2 (w + 1)) Phi(z sqrt(w / (w + 1))) there.
TEST(ConfidenceSequenceTest, TheOneSidedBoundIsThatOfTheHalfNormalMixture) {
  for (const double n : {10.0, 300.0, 5'000.0, 1e7}) {
    const SequentialOptions options;
    const double rho = *OneSidedMixtureScale(options);
    const double weight = n * rho * rho;
    const double z = -*SequentialLowerBound(EffectOf(0, 1, static_cast<int64_t>(n)), options);
    const double share = weight / (weight + 1);
    const double martingale = 2 / std::sqrt(weight + 1) * std::exp(z * z * share / 2) *
                              std::erfc(-z * std::sqrt(share / 2)) / 2;
    EXPECT_GE(martingale * options.alpha, 1) << n;
    EXPECT_LE(martingale * options.alpha, 1.1) << n;
  }
}

TEST(ConfidenceSequenceTest, EnormousEvidenceIsNoOverflow) {
  EXPECT_EQ(*SequentialPValue(EffectOf(1e9, 1e-9, 1000), 0, {}), 0);
  EXPECT_EQ(*SequentialGreaterPValue(EffectOf(1e9, 1e-9, 1000), 0, {}), 0);
}

TEST(ConfidenceSequenceTest, OptionsOutsideTheirRangesGiveNothing) {
  const Effect effect = EffectOf(1, 1, 100);
  for (const SequentialOptions options : {SequentialOptions{.alpha = 0},
                                          {.alpha = 1},
                                          {.alpha = NAN},
                                          {.tuning = 0.5},
                                          {.tuning = NAN},
                                          {.tuning = INFINITY}}) {
    EXPECT_FALSE(SequentialInterval(effect, options).has_value());
    EXPECT_FALSE(SequentialPValue(effect, 0, options).has_value());
    EXPECT_FALSE(SequentialLowerBound(effect, options).has_value());
    EXPECT_FALSE(SequentialGreaterPValue(effect, 0, options).has_value());
  }
  EXPECT_FALSE(SequentialLowerBound(effect, {.alpha = 0.5}).has_value());
  EXPECT_FALSE(SequentialCritical(0, {}).has_value());
}

}  // namespace
}  // namespace skipstone::statistics
