#include "base/statistics/power.h"

#include <cmath>

#include "base/statistics/confidence_sequence.h"
#include "tests/base/statistics/fixture.h"

namespace skipstone::statistics {
namespace {

TEST(PowerTest, IsWhatOtherPackagesPlan) {
  const Fixture fixture = ReadFixture("plan", 5);
  for (size_t i = 0; i < fixture.rows.size(); ++i) {
    SCOPED_TRACE(i);
    const auto& expected = fixture.rows[i];
    Inputs in(fixture.seed, i);
    PlanOptions options;
    options.alpha = in.Uniform(0.01, 0.2);
    options.power = in.Uniform(0.5, 0.95);
    const double share = in.Uniform(0.1, 0.9);
    options.control_weight = 1 - share;
    options.treatment_weight = share;
    const double units = std::ldexp(1, in.Whole(10, 22));
    Baseline mean = {.value = in.Uniform(1, 5)};
    const double deviation = in.Uniform(0.5, 5);
    mean.unit_variance = deviation * deviation;
    const Baseline proportion = {.value = in.Uniform(0.05, 0.8), .is_proportion = true};
    const double rise = in.Uniform(0.02, 0.15);
    const auto effect = [&](const Baseline& baseline, bool is_relative, bool is_sequential) {
      options.is_relative = is_relative;
      options.is_sequential = is_sequential;
      return MinimumDetectableEffect(baseline, units, options).value_or(NAN);
    };
    EXPECT_TRUE(IsNear(effect(mean, false, true), expected[2], 1e-9));
    EXPECT_TRUE(IsNear(effect(mean, true, false), expected[1], 1e-9));
    EXPECT_TRUE(IsNear(effect(mean, false, false), expected[0], 1e-9));
    EXPECT_TRUE(IsNear(effect(proportion, false, false), expected[3], 1e-9));
    // Theirs rounds the treatment up first, then both.
    const double planned = PlannedUnits(proportion, rise, options).value_or(NAN);
    EXPECT_LE(planned, expected[4]);
    EXPECT_GE(planned, expected[4] - 1 - 1 / share);
  }
}

TEST(PowerTest, PlannedUnitsFindWhatTheyArePlannedFor) {
  for (const bool is_relative : {false, true}) {
    for (const bool is_sequential : {false, true}) {
      for (const Baseline baseline :
           {Baseline{.value = 2, .unit_variance = 9}, Baseline{.value = -2, .unit_variance = 9},
            Baseline{.value = 0.3, .is_proportion = true}}) {
        const PlanOptions options = {.control_weight = 0.6,
                                     .treatment_weight = 0.1,
                                     .is_relative = is_relative,
                                     .is_sequential = is_sequential};
        const double units = PlannedUnits(baseline, 0.05, options).value_or(NAN);
        EXPECT_LE(MinimumDetectableEffect(baseline, units, options).value_or(NAN), 0.05);
        EXPECT_GT(MinimumDetectableEffect(baseline, units - 1, options).value_or(NAN), 0.05);
      }
    }
  }
}

TEST(PowerTest, AFallOfAProportionIsARiseOfItsComplement) {
  const Baseline agreement = {.value = 0.97, .is_proportion = true};
  const Baseline complement = {.value = 0.03, .is_proportion = true};
  EXPECT_EQ(*PlannedUnits(agreement, -0.01, {}), *PlannedUnits(complement, 0.01, {}));
}

// The power is that of the test that will be used.
TEST(PowerTest, SimulatedExperimentsAreFoundAsOftenAsPlanned) {
  const Baseline baseline = {.value = 1, .unit_variance = 1};
  const PlanOptions options = {.is_sequential = true, .tuning = 1000};
  const auto units = static_cast<int64_t>(*PlannedUnits(baseline, 0.2, options));
  int found = 0;
  Inputs in(11);
  for (int run = 0; run < 500; ++run) {
    Moments<1> control, treatment;
    for (int64_t i = 0; i < units / 2; ++i) {
      control.Add({1 + in.Normal()});
      treatment.Add({1.2 + in.Normal()});
    }
    const auto effect = AbsoluteEffect(MeanEstimate(control), MeanEstimate(treatment));
    found += *SequentialPValue(*effect, 0, {.tuning = 1000}) <= 0.05;
  }
  EXPECT_NEAR(found, 400, 27);  // 3 deviations; the last look alone
}

TEST(PowerTest, LookingCostsUnits) {
  const Baseline baseline = {.value = 1, .unit_variance = 1};
  const double one_look = *PlannedUnits(baseline, 0.1, {});
  const double any_look = *PlannedUnits(baseline, 0.1, {.is_sequential = true});
  EXPECT_NEAR(one_look, 4 * std::pow((1.959964 + 0.841621) / 0.1, 2), 1);
  EXPECT_GT(any_look, 1.5 * one_look);
  EXPECT_LT(any_look, 2.5 * one_look);
}

TEST(PowerTest, SecondsAreUnitsOverTheirRate) {
  const Baseline baseline = {.value = 1, .unit_variance = 1};
  EXPECT_EQ(*PlannedSeconds(baseline, 0.1, 4, {}), *PlannedUnits(baseline, 0.1, {}) / 4);
  EXPECT_FALSE(PlannedSeconds(baseline, 0.1, 0, {}).ok());
  EXPECT_FALSE(PlannedSeconds(baseline, 0.1, NAN, {}).ok());
}

TEST(PowerTest, BadInputIsRefused) {
  const Baseline good = {.value = 1, .unit_variance = 1};
  const auto code = [](const Baseline& baseline, const PlanOptions& options) {
    EXPECT_EQ(PlannedUnits(baseline, 0.1, options).status().code(),
              MinimumDetectableEffect(baseline, 1e6, options).status().code());
    return PlannedUnits(baseline, 0.1, options).status().code();
  };
  EXPECT_EQ(code(good, {}), absl::StatusCode::kOk);
  for (const Baseline& bad :
       {Baseline{.value = NAN, .unit_variance = 1}, Baseline{.value = 1, .unit_variance = 0},
        Baseline{.value = 1, .unit_variance = NAN}, Baseline{.value = 0, .is_proportion = true},
        Baseline{.value = 1, .is_proportion = true}}) {
    EXPECT_EQ(code(bad, {}), absl::StatusCode::kInvalidArgument);
  }
  for (const PlanOptions& bad :
       {PlanOptions{.alpha = 0}, PlanOptions{.alpha = NAN}, PlanOptions{.power = 1},
        PlanOptions{.power = 0.2}, PlanOptions{.control_weight = 0},
        PlanOptions{.treatment_weight = -0.5}, PlanOptions{.treatment_weight = NAN},
        PlanOptions{.control_weight = 0.9}, PlanOptions{.is_sequential = true, .tuning = 0}}) {
    EXPECT_EQ(code(good, bad), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(code({.value = 0, .unit_variance = 1}, {.is_relative = true}),
            absl::StatusCode::kInvalidArgument);
}

TEST(PowerTest, WhatNoSampleFindsIsSaid) {
  const Baseline mean = {.value = 1, .unit_variance = 1};
  const Baseline proportion = {.value = 0.9, .is_proportion = true};
  EXPECT_EQ(MinimumDetectableEffect(proportion, 20, {}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(MinimumDetectableEffect(mean, 10, {.is_relative = true}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(MinimumDetectableEffect(mean, 1, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PlannedUnits(mean, 1e-9, {}).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(PlannedUnits(mean, 0, {}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PlannedUnits(proportion, 0.2, {}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace skipstone::statistics
