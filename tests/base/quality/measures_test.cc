#include "base/quality/measures.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/hash.h"
#include "gtest/gtest.h"

namespace skipstone::quality {
namespace {

// Even over [0, 1), by counter.
double Uniform(uint64_t counter) { return static_cast<double>(Mix64(counter) >> 11) * 0x1p-53; }

std::vector<double> Uniforms(uint64_t seed, size_t count) {
  std::vector<double> values;
  for (size_t i = 0; i < count; ++i) values.push_back(Uniform(Mix64(seed) + i));
  return values;
}

std::vector<TokenOutcome> RandomTokens(uint64_t seed, size_t count) {
  std::vector<TokenOutcome> tokens;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t at = Mix64(seed) + 8 * i;
    tokens.push_back({.nll = static_cast<float>(5 * Uniform(at)),
                      .kl = static_cast<float>(Uniform(at + 1)),
                      .confidence = static_cast<float>(Uniform(at + 2)),
                      .correct = Uniform(at + 3) < 0.5,
                      .agrees = Uniform(at + 4) < 0.8});
  }
  return tokens;
}

TEST(MeasuresTest, AWindowsSumsAreThoseOfItsTokens) {
  const WindowSums sums = SumOf(std::vector<TokenOutcome>{
      {.nll = 1, .kl = 0.5, .confidence = 0.75, .correct = true, .agrees = true},
      {.nll = 2.5, .kl = 0.25, .confidence = 0.5, .correct = false, .agrees = true},
      {.nll = 0.5, .kl = 0, .confidence = 1, .correct = true, .agrees = false}});
  EXPECT_EQ(sums.tokens, 3);
  EXPECT_EQ(sums.nll, 4);
  EXPECT_EQ(sums.kl, 0.75);
  EXPECT_EQ(sums.brier, 0.0625 + 0.25);
  EXPECT_EQ(sums.agrees, 2);
  EXPECT_DOUBLE_EQ(BrierScore(std::vector<WindowSums>{sums}), 0.3125 / 3);
}

TEST(MeasuresTest, NothingSumsToZero) {
  EXPECT_EQ(SumOf({}).tokens, 0);
  EXPECT_EQ(BrierScore({}), 0);
  EXPECT_EQ(ExpectedCalibrationError({}), 0);
  EXPECT_EQ(ExpectedCalibrationError(std::vector<WindowSums>(2)), 0);
}

TEST(MeasuresTest, CalibrationErrorOfHandMadeBins) {
  // Confidence 0.25 (bin 3), a quarter right: calibrated, though single tokens are not.
  std::vector<TokenOutcome> tokens(4, {.confidence = 0.25});
  tokens[2].correct = true;
  EXPECT_EQ(ExpectedCalibrationError(std::vector{SumOf(tokens)}), 0);
  // Four more at 0.75, none right: half of the tokens are off by 0.75.
  tokens.insert(tokens.end(), 4, {.confidence = 0.75});
  EXPECT_DOUBLE_EQ(ExpectedCalibrationError(std::vector{SumOf(tokens)}), 0.375);
  // Errors of different bins add up in absolute value: these would cancel within one.
  const std::vector<TokenOutcome> opposite = {{.confidence = 0.125, .correct = true},
                                              {.confidence = 0.875, .correct = false}};
  EXPECT_DOUBLE_EQ(ExpectedCalibrationError(std::vector{SumOf(opposite)}), 0.875);
}

TEST(MeasuresTest, CertainTokensLieInTheLastBin) {
  const std::vector<TokenOutcome> certain(3, {.confidence = 1, .correct = true});
  EXPECT_EQ(SumOf(certain).bins[kBins - 1].tokens, 3);
  EXPECT_EQ(ExpectedCalibrationError(std::vector{SumOf(certain)}), 0);
}

TEST(MeasuresTest, MeasuresDoNotDependOnHowTextIsCut) {
  const std::vector<TokenOutcome> tokens = RandomTokens(/*seed=*/3, 1000);
  const std::vector<WindowSums> whole = {SumOf(tokens)};
  for (const size_t window : {1, 7, 250}) {
    std::vector<WindowSums> parts;
    double kl = 0;
    for (size_t i = 0; i < tokens.size(); i += window) {
      parts.push_back(SumOf(std::span(tokens).subspan(i, std::min(window, tokens.size() - i))));
      kl += parts.back().kl;
    }
    EXPECT_NEAR(kl, whole[0].kl, 1e-9);
    EXPECT_NEAR(BrierScore(parts), BrierScore(whole), 1e-12);
    EXPECT_NEAR(ExpectedCalibrationError(parts), ExpectedCalibrationError(whole), 1e-12);
  }
}

TEST(MeasuresTest, CalibrationErrorIsNoMoreThanTheWorstTokens) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const std::vector<WindowSums> windows = {SumOf(RandomTokens(seed, 1 + seed % 40))};
    const double error = ExpectedCalibrationError(windows);
    EXPECT_GE(error, 0);
    // |mean of misses| <= root of the mean of their squares (Jensen), bin by bin and over all.
    EXPECT_LE(error, std::sqrt(BrierScore(windows)) + 1e-12);
  }
}

TEST(BootstrapTest, EqualSeedsGiveEqualIntervals) {
  const std::vector<double> values = Uniforms(1, 100);
  const Interval one = BootstrapMean(values, {}, {.seed = 5});
  EXPECT_EQ(one, BootstrapMean(values, {}, {.seed = 5}));
  EXPECT_NE(one, BootstrapMean(values, {}, {.seed = 6}));
  EXPECT_EQ(one.value, BootstrapMean(values, {}, {.seed = 6}).value);
}

// Numbers made with this generator in Python: they must not change with compiler or library.
TEST(BootstrapTest, DrawsAreThoseOfTheGenerator) {
  const std::vector<double> powers = {1, 2, 4, 8, 16, 32, 64, 128};
  EXPECT_EQ(BootstrapMean(powers, {}, {.resamples = 1, .seed = 1}), (Interval{31.875, 20.0, 20.0}));
  EXPECT_EQ(BootstrapMean(powers, {}, {.resamples = 200, .seed = 7}),
            (Interval{31.875, 7.25, 60.625}));
}

TEST(BootstrapTest, EqualSidesDifferByExactlyNothing) {
  const std::vector<double> values = Uniforms(2, 37);
  EXPECT_EQ(BootstrapMean(values, values, {}), (Interval{0, 0, 0}));
}

TEST(BootstrapTest, PairsAreDrawnTogether) {
  // Units differ much, the sides by a constant: only drawn in pairs is the difference sure.
  std::vector<double> base = Uniforms(3, 50);
  for (double& value : base) value = std::ldexp(std::floor(1000 * value), -3);
  std::vector<double> values = base;
  for (double& value : values) value += 0.5;
  EXPECT_EQ(BootstrapMean(values, base, {}), (Interval{0.5, 0.5, 0.5}));
}

TEST(BootstrapTest, OneUnitHasNoSpread) {
  EXPECT_EQ(BootstrapMean(std::vector{3.0}, std::vector{1.0}, {}), (Interval{2, 2, 2}));
  EXPECT_EQ(BootstrapRatio(std::vector{3.0}, std::vector{4.0}, {}), (Interval{0.75, 0.75, 0.75}));
}

TEST(BootstrapTest, IntervalsEncloseTheValueAndNarrowWithTheUnits) {
  double width = std::numeric_limits<double>::infinity();
  for (const size_t units : {10, 100, 1000}) {
    const Interval interval = BootstrapMean(Uniforms(4, units), {}, {});
    EXPECT_LT(interval.low, interval.value);
    EXPECT_GT(interval.high, interval.value);
    EXPECT_LT(interval.high - interval.low, width / 2);
    width = interval.high - interval.low;
  }
  // 1.96 standard errors of an even distribution to each side.
  EXPECT_NEAR(width, 2 * 1.96 / std::sqrt(12.0 * 1000), 0.003);
}

TEST(BootstrapTest, IntervalsCoverTheTruthAsOftenAsTheySay) {
  int covered = 0;
  constexpr int kRuns = 400;
  for (int run = 0; run < kRuns; ++run) {
    const std::vector<double> values = Uniforms(100 + run, 60);
    const Interval interval = BootstrapMean(values, {}, {.resamples = 400});
    covered += interval.low <= 0.5 && 0.5 <= interval.high;
  }
  // 95 %: 380 of 400, with a standard deviation of 4.4; percentile intervals are a little narrow.
  EXPECT_GE(covered, 362);
  EXPECT_LE(covered, 395);
}

TEST(BootstrapTest, RatiosWeighUnitsByTheirDenominators) {
  // A long window of 1 nat a token and a short one of 4.
  const Interval interval = BootstrapRatio(std::vector{30.0, 40.0}, std::vector{30.0, 10.0}, {});
  EXPECT_EQ(interval.value, 1.75);
  EXPECT_EQ(interval.low, 1);
  EXPECT_EQ(interval.high, 4);
}

TEST(BootstrapTest, RatiosOfUnitDenominatorsAreMeans) {
  const std::vector<double> values = Uniforms(5, 80);
  EXPECT_EQ(BootstrapRatio(values, std::vector<double>(80, 1), {}), BootstrapMean(values, {}, {}));
}

TEST(BootstrapTest, WhatIsNotFiniteHasNoInterval) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(BootstrapMean(std::vector{1.0, infinity}, {}, {}),
            (Interval{infinity, infinity, infinity}));
  EXPECT_TRUE(std::isnan(BootstrapMean(std::vector{1.0, std::nan("")}, {}, {}).low));
}

TEST(ChoiceTest, TheLikeliestIsTaken) {
  const ChoiceOutcome item = {.loglikelihood = {-9, -4, -5}, .characters = {1, 4, 10}, .gold = 1};
  EXPECT_TRUE(Correct(item));
  EXPECT_FALSE(CorrectNormalised(item));  // -9, -1, -0.5
}

TEST(ChoiceTest, NormalisedIsPerCharacter) {
  const ChoiceOutcome item = {.loglikelihood = {-9, -4, -5}, .characters = {1, 4, 10}, .gold = 2};
  EXPECT_FALSE(Correct(item));
  EXPECT_TRUE(CorrectNormalised(item));
}

TEST(ChoiceTest, TiesGoToTheFirst) {
  ChoiceOutcome item = {.loglikelihood = {-3, -2, -2}, .characters = {3, 2, 2}, .gold = 1};
  EXPECT_TRUE(Correct(item));
  EXPECT_FALSE(CorrectNormalised(item));  // all are -1
  item.gold = 2;
  EXPECT_FALSE(Correct(item));
  item.gold = 0;
  EXPECT_TRUE(CorrectNormalised(item));
}

}  // namespace
}  // namespace skipstone::quality
