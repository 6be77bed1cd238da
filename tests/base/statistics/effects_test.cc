#include "base/statistics/effects.h"

#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "base/statistics/confidence_sequence.h"
#include "tests/base/statistics/fixture.h"

namespace skipstone::statistics {
namespace {

using Arms = std::pair<std::optional<Estimate>, std::optional<Estimate>>;

int64_t ArmSize(Inputs& in) {
  const int64_t n = in.Whole(20, 200);
  return n << in.Whole(0, 9);
}

double DrawValue(Inputs& in, const double* near, double low, double high) {
  if (near == nullptr) return in.Uniform(low, high);
  return *near * (1 + in.Scaled(-1, 1, -8, -2));
}

Moments<1> DrawMean(Inputs& in, const Moments<1>* near = nullptr) {
  Moments<1> m;
  m.n = ArmSize(in);
  m.mean[0] = DrawValue(in, near ? &near->mean[0] : nullptr, 0.5, 10);
  const double deviation = in.Uniform(0.5, 5);
  m.comoment[0] = deviation * deviation * (m.n - 1);
  return m;
}

Moments<2> DrawPair(Inputs& in, const Moments<2>* near = nullptr) {
  Moments<2> m;
  m.n = ArmSize(in);
  m.mean[0] = DrawValue(in, near ? &near->mean[0] : nullptr, 0.5, 10);
  m.mean[1] = DrawValue(in, near ? &near->mean[1] : nullptr, 1, 5);
  const double a = in.Uniform(0.5, 5);
  const double b = in.Uniform(0.5, 2);
  const double correlation = in.Uniform(-0.95, 0.95);
  m.comoment = {a * a * (m.n - 1), correlation * a * b * (m.n - 1), b * b * (m.n - 1)};
  return m;
}

Moments<4> DrawQuad(Inputs& in, const Moments<4>* near = nullptr) {
  Moments<4> m;
  m.n = ArmSize(in);
  for (int i = 0; i < 4; ++i) m.mean[i] = DrawValue(in, near ? &near->mean[i] : nullptr, 1, 5);
  double factor[4][4];
  for (auto& row : factor) {
    for (double& x : row) x = in.Uniform(-1, 1);
  }
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i <= j; ++i) {
      double sum = 0;
      for (int k = 0; k < 4; ++k) sum += factor[i][k] * factor[j][k];
      m.comoment[m.Index(i, j)] = sum * (m.n - 1);
    }
  }
  return m;
}

template <class M>
M Pooled(M control, const M& treatment) {
  control.Merge(treatment);
  return control;
}

Arms MeanArms(Inputs& in) {
  const Moments<1> control = DrawMean(in);
  return {MeanEstimate(control), MeanEstimate(DrawMean(in, &control))};
}

Arms ProportionArms(Inputs& in) {
  const auto draw = [&](const double* near) {
    const int64_t n = ArmSize(in);
    const double p = DrawValue(in, near, 0.05, 0.75);
    return std::pair(p, ProportionEstimate(n, 1 + static_cast<int64_t>(p * (n - 1))));
  };
  const auto control = draw(nullptr);
  return {control.second, draw(&control.first).second};
}

Arms RatioArms(Inputs& in) {
  const Moments<2> control = DrawPair(in);
  return {RatioEstimate(control), RatioEstimate(DrawPair(in, &control))};
}

Arms CupedArms(Inputs& in) {
  const Moments<2> control = DrawPair(in);
  const Moments<2> treatment = DrawPair(in, &control);
  const double theta = CupedTheta(Pooled(control, treatment));
  return {CupedMeanEstimate(control, theta), CupedMeanEstimate(treatment, theta)};
}

Arms CupedRatioArms(Inputs& in) {
  const Moments<4> control = DrawQuad(in);
  const Moments<4> treatment = DrawQuad(in, &control);
  const double theta = CupedRatioTheta(Pooled(control, treatment));
  return {CupedRatioEstimate(control, theta), CupedRatioEstimate(treatment, theta)};
}

struct Quantity {
  const char* file;
  Arms (*draw)(Inputs&);
};

// Both kinds of interval at once: confidence_sequence.h is checked here too.
class EffectsFixtureTest : public ::testing::TestWithParam<Quantity> {};

TEST_P(EffectsFixtureTest, IsWhatOtherPackagesFind) {
  const Fixture fixture = ReadFixture(GetParam().file, 5);
  for (size_t i = 0; i < fixture.rows.size(); ++i) {
    SCOPED_TRACE(i);
    const auto& expected = fixture.rows[i];
    Inputs in(fixture.seed, i);
    const auto [control, treatment] = GetParam().draw(in);
    const double alpha = std::array{0.01, 0.05, 0.1}[in.Whole(0, 2)];
    const bool is_relative = in.Whole(0, 1) == 1;
    const double tuning = std::array{500, 5000, 50000}[in.Whole(0, 2)];
    const auto effect =
        is_relative ? RelativeEffect(control, treatment) : AbsoluteEffect(control, treatment);
    ASSERT_TRUE(effect.has_value());
    // Of differences the digits are those of their standard error.
    const double error = 1e-9 * std::sqrt(effect->variance);
    EXPECT_TRUE(IsNear(effect->value, expected[0], 1e-9, error));
    const auto welch = WelchInterval(*effect, alpha);
    ASSERT_TRUE(welch.has_value());
    EXPECT_TRUE(IsNear(welch->low, expected[1], 1e-9, error));
    EXPECT_TRUE(IsNear(welch->high, 2 * expected[0] - expected[1], 1e-9, 2 * error));
    // Their 1 - cdf() has no digits below 1e-16.
    EXPECT_TRUE(IsNear(WelchPValue(*effect), expected[2], 2e-9, 1e-15));
    const SequentialOptions options = {alpha, tuning};
    const auto sequential = SequentialInterval(*effect, options);
    ASSERT_TRUE(sequential.has_value());
    EXPECT_TRUE(IsNear(sequential->low, expected[3], 1e-9, error));
    EXPECT_TRUE(IsNear(sequential->high, 2 * expected[0] - expected[3], 1e-9, 2 * error));
    // An exponent of e^-100 that is off by 1e-11 shows here as 1e-9.
    const double exponent = std::abs(std::log(std::max(expected[4], 1e-300)));
    EXPECT_TRUE(IsNear(*SequentialPValue(*effect, 0, options), expected[4],
                       1e-9 * std::max(1.0, exponent / 10), 1e-290));
  }
}

INSTANTIATE_TEST_SUITE_P(Quantities, EffectsFixtureTest,
                         ::testing::Values(Quantity{"mean_effects", MeanArms},
                                           Quantity{"proportion_effects", ProportionArms},
                                           Quantity{"ratio_effects", RatioArms},
                                           Quantity{"cuped_effects", CupedArms},
                                           Quantity{"cuped_ratio_effects", CupedRatioArms}),
                         [](const auto& info) { return std::string(info.param.file); });

// Published test values of PostHog's engine, which shares the mathematics.
TEST(EffectsTest, RelativeEffectsOfAnotherEngine) {
  const auto moments = [](int64_t n, double sum, double squares) {
    Moments<1> m;
    m.n = n;
    m.mean[0] = sum / n;
    m.comoment[0] = squares - sum * sum / n;
    return m;
  };
  const auto means = RelativeEffect(MeanEstimate(moments(2507, 1196.87, 37377.9767)),
                                    MeanEstimate(moments(2461, 1922.7, 94698.29)));
  ASSERT_TRUE(means.has_value());
  EXPECT_NEAR(means->value, 0.63646, 1e-5);
  EXPECT_NEAR(WelchInterval(*means, 0.05)->low, -0.0875, 1e-4);
  EXPECT_NEAR(WelchInterval(*means, 0.05)->high, 1.36048, 1e-5);
  EXPECT_NEAR(WelchPValue(*means), 0.08487, 1e-5);
  const auto shares = RelativeEffect(ProportionEstimate(1529, 87), ProportionEstimate(1471, 62));
  ASSERT_TRUE(shares.has_value());
  EXPECT_NEAR(shares->value, -0.25925, 1e-5);
  EXPECT_NEAR(WelchInterval(*shares, 0.05)->low, -0.49475, 1e-5);
  EXPECT_NEAR(WelchPValue(*shares), 0.03096, 1e-5);
}

TEST(EffectsTest, ACovariateThatExplainsHalfOfTheVarianceHalvesIt) {
  Inputs in(5);
  Moments<2> control, treatment;
  for (int i = 0; i < 20'000; ++i) {
    const double before = in.Normal();
    (i % 2 ? control : treatment).Add({before + in.Normal() + (i % 2 ? 0 : 0.1), before});
  }
  const double theta = CupedTheta(Pooled(control, treatment));
  EXPECT_NEAR(theta, 1, 0.03);
  const auto plain = AbsoluteEffect(CupedMeanEstimate(control, 0), CupedMeanEstimate(treatment, 0));
  const auto adjusted =
      AbsoluteEffect(CupedMeanEstimate(control, theta), CupedMeanEstimate(treatment, theta));
  EXPECT_NEAR(adjusted->variance / plain->variance, 0.5, 0.02);
  EXPECT_TRUE(WelchInterval(*adjusted, 0.001)->Contains(0.1));
}

// Units of several requests: the variance by request would be far too small.
TEST(EffectsTest, ARatiosVarianceIsThatOfItsUnits) {
  Moments<1> ratios;
  double variance = 0;
  Inputs in(6);
  for (int round = 0; round < 2000; ++round) {
    Moments<2> arm;
    for (int unit = 0; unit < 200; ++unit) {
      const double cost = 1 + in.Uniform();  // of each of this unit's requests
      const double requests = in.Whole(1, 20);
      arm.Add({cost * requests, requests});
    }
    const auto estimate = RatioEstimate(arm);
    ratios.Add({estimate->value});
    variance += estimate->unit_variance / estimate->n / 2000;
  }
  EXPECT_NEAR(variance / ratios.Variance(0), 1, 0.1);
}

TEST(EffectsTest, AQuantilesVarianceIsThatOfRepeatedSamples) {
  Moments<1> quantiles;
  double variance = 0;
  Inputs in(7);
  for (int round = 0; round < 1000; ++round) {
    std::vector<double> values(500);
    for (double& x : values) x = in.Normal();
    std::sort(values.begin(), values.end());
    const auto estimate = QuantileEstimate(values, 0.9);
    ASSERT_TRUE(estimate.has_value());
    EXPECT_EQ(estimate->value, values[449]);
    quantiles.Add({estimate->value});
    variance += estimate->unit_variance / estimate->n / 1000;
  }
  EXPECT_NEAR(quantiles.mean[0], 1.2816, 0.02);
  EXPECT_NEAR(variance / quantiles.Variance(0), 1, 0.15);
}

TEST(EffectsTest, IntervalsCoverAsOftenAsTheySay) {
  int covered = 0;
  Inputs in(8);
  for (int round = 0; round < 2000; ++round) {
    Moments<2> control, treatment;
    for (int i = 0; i < 60; ++i) {
      control.Add({in.Normal() + 2, 1 + in.Uniform()});
      treatment.Add({2 * in.Normal() + 3, 1 + in.Uniform()});
    }
    const auto effect = RelativeEffect(RatioEstimate(control), RatioEstimate(treatment));
    covered += WelchInterval(*effect, 0.1)->Contains(0.5);
  }
  // 1,800 but for chance (3 deviations are 40) and the delta method.
  EXPECT_NEAR(covered, 1800, 50);
}

TEST(EffectsTest, WhatCannotBeToldIsUnknown) {
  Moments<1> one, equal, infinite;
  EXPECT_FALSE(MeanEstimate(one).has_value());
  one.Add({3});
  EXPECT_FALSE(MeanEstimate(one).has_value());
  for (int i = 0; i < 5; ++i) equal.Add({0.1});
  EXPECT_FALSE(MeanEstimate(equal).has_value());
  for (const double x : std::array<double, 3>{1, NAN, 2}) infinite.Add({x});
  EXPECT_FALSE(MeanEstimate(infinite).has_value());

  EXPECT_FALSE(ProportionEstimate(1, 1).has_value());
  EXPECT_FALSE(ProportionEstimate(10, 0).has_value());
  EXPECT_FALSE(ProportionEstimate(10, 10).has_value());
  EXPECT_FALSE(ProportionEstimate(10, 11).has_value());
  EXPECT_FALSE(ProportionEstimate(10, -1).has_value());

  Moments<2> no_denominator;
  for (const double x : {1.0, 2.0, 4.0}) no_denominator.Add({x, 0});
  EXPECT_FALSE(RatioEstimate(no_denominator).has_value());
  EXPECT_EQ(CupedTheta(no_denominator), 0);  // a covariate that says nothing
  EXPECT_EQ(CupedMeanEstimate(no_denominator, 0)->value, 7.0 / 3);
  EXPECT_EQ(CupedTheta(Moments<2>()), 0);
  EXPECT_EQ(CupedRatioTheta(Moments<4>()), 0);
  EXPECT_FALSE(CupedRatioEstimate(Moments<4>(), 1).has_value());

  const std::vector<double> values = {1, 2, 3, 4, 5};
  EXPECT_FALSE(QuantileEstimate(values, 0.99).has_value());
  EXPECT_FALSE(QuantileEstimate({}, 0.5).has_value());
  EXPECT_FALSE(QuantileEstimate(std::vector<double>(100, 7.0), 0.5).has_value());
  EXPECT_FALSE(QuantileEstimate(values, 1.5).has_value());
}

TEST(EffectsTest, AnUnknownArmOrAZeroBaseHasNoEffect) {
  const auto arm = ProportionEstimate(100, 20);
  EXPECT_FALSE(AbsoluteEffect(arm, std::nullopt).has_value());
  EXPECT_FALSE(RelativeEffect(std::nullopt, arm).has_value());
  EXPECT_FALSE(SingleEffect(std::nullopt).has_value());
  Moments<1> centred;
  centred.Add({-1});
  centred.Add({1});
  EXPECT_FALSE(RelativeEffect(MeanEstimate(centred), arm).has_value());
  EXPECT_TRUE(AbsoluteEffect(MeanEstimate(centred), arm).has_value());
  const Effect effect = *AbsoluteEffect(arm, arm);
  EXPECT_FALSE(WelchInterval(effect, 0).has_value());
  EXPECT_FALSE(WelchInterval(effect, NAN).has_value());
  EXPECT_EQ(WelchPValue(effect), 1);
}

}  // namespace
}  // namespace skipstone::statistics
