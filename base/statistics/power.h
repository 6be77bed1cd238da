// Before an experiment starts: the smallest effect that so many units will show, and the units that
// an effect needs. From the normal approximation, for a two-sided test. All functions are pure: any
// thread may call.
#pragma once

#include "absl/status/statusor.h"

namespace skipstone::statistics {

// What a metric is today, without the experiment: an Estimate of effects.h has these.
struct Baseline {
  double value = 0;            // mean, ratio, or proportion in (0, 1)
  double unit_variance = 0;    // > 0; of a proportion p (1 - p), whatever stands here
  bool is_proportion = false;  // its variance changes with the effect
};

struct PlanOptions {
  double alpha = 0.05;          // in (0, 1)
  double power = 0.8;           // in [0.5, 1): probability that the effect is found
  double control_weight = 0.5;  // shares of all units, > 0, together at most 1
  double treatment_weight = 0.5;
  bool is_relative = false;    // effects are shares of the baseline's value, 0.1 for 10 %
  bool is_sequential = false;  // judged by SequentialInterval(), at the last look at the latest
  double tuning = 5'000;       // of it
};

// The smallest effect > 0 that `units` >= 2, of all arms, find with the power asked for; of a
// proportion, one towards 1: plan a fall of p as a rise of 1 - p. InvalidArgument for what is
// outside its range, FailedPrecondition where so few units can find no effect.
absl::StatusOr<double> MinimumDetectableEffect(const Baseline& baseline, double units,
                                               const PlanOptions& options);

// Units of all arms, rounded up, that find `effect` != 0. Errors as above; OutOfRange for more than
// 1e15 units.
absl::StatusOr<double> PlannedUnits(const Baseline& baseline, double effect,
                                    const PlanOptions& options);

// The time in seconds in which they come at `units_per_second` > 0 new units of all arms.
absl::StatusOr<double> PlannedSeconds(const Baseline& baseline, double effect,
                                      double units_per_second, const PlanOptions& options);

}  // namespace skipstone::statistics
