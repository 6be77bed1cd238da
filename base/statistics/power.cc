#include "base/statistics/power.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"
#include "base/statistics/confidence_sequence.h"
#include "base/statistics/distributions.h"
#include "base/status.h"

namespace skipstone::statistics {
namespace {

constexpr double kMostUnits = 1e15;  // above it whole numbers of units are no longer exact

bool IsShare(double x) { return x > 0 && x < 1; }

absl::Status Validate(const Baseline& baseline, const PlanOptions& options) {
  if (!std::isfinite(baseline.value) || (options.is_relative && baseline.value == 0)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("no plan for a baseline of %g", baseline.value));
  }
  if (baseline.is_proportion && !IsShare(baseline.value)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a proportion must lie between 0 and 1: %g", baseline.value));
  }
  if (!baseline.is_proportion &&
      (!std::isfinite(baseline.unit_variance) || !(baseline.unit_variance > 0))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("variance must be finite and above 0: %g", baseline.unit_variance));
  }
  if (!IsShare(options.alpha) || !IsShare(options.power) || options.power < 0.5) {
    return absl::InvalidArgumentError("alpha must lie between 0 and 1, power between 0.5 and 1");
  }
  if (!(options.control_weight > 0) || !(options.treatment_weight > 0) ||
      options.control_weight + options.treatment_weight > 1 + 1e-9) {
    return absl::InvalidArgumentError("weights must be above 0 and at most 1 together");
  }
  if (options.is_sequential && !MixtureScale({options.alpha, options.tuning})) {
    return absl::InvalidArgumentError("tuning must be finite and at least 1");
  }
  return absl::OkStatus();
}

// How many standard errors an effect must have for the test to find it with the power.
double NeededErrors(double units, const PlanOptions& options) {
  const double compared = units * (options.control_weight + options.treatment_weight);
  const double critical = options.is_sequential
                              ? *SequentialCritical(compared, {options.alpha, options.tuning})
                              : -NormalQuantile(options.alpha / 2);
  return critical + NormalQuantile(options.power);
}

// Of the difference under `effect`, in the effect's own terms.
double StandardError(const Baseline& baseline, double effect, double units,
                     const PlanOptions& options) {
  const double difference = options.is_relative ? effect * baseline.value : effect;
  const double changed = baseline.value + difference;
  double of_control = baseline.unit_variance;
  double of_treatment = baseline.unit_variance;
  if (baseline.is_proportion) {
    of_control = baseline.value * (1 - baseline.value);
    of_treatment = changed * (1 - changed);
  }
  const double slope = options.is_relative ? changed / baseline.value : 1;
  const double error = std::sqrt(of_treatment / (units * options.treatment_weight) +
                                 slope * slope * of_control / (units * options.control_weight));
  return options.is_relative ? error / std::abs(baseline.value) : error;
}

bool IsFound(const Baseline& baseline, double effect, double units, const PlanOptions& options) {
  return std::abs(effect) >=
         NeededErrors(units, options) * StandardError(baseline, effect, units, options);
}

}  // namespace

absl::StatusOr<double> MinimumDetectableEffect(const Baseline& baseline, double units,
                                               const PlanOptions& options) {
  SKIPSTONE_RETURN_IF_ERROR(Validate(baseline, options));
  if (!std::isfinite(units) || !(units >= 2)) {
    return absl::InvalidArgumentError(absl::StrFormat("need two or more units: %g", units));
  }
  // All effects above the smallest are found: an effect less its standard error times a constant is
  // convex (proportions) or concave (relative) and starts below 0.
  double most = std::numeric_limits<double>::max();
  if (baseline.is_proportion)
    most = (1 - baseline.value) / (options.is_relative ? baseline.value : 1);
  double high = NeededErrors(units, options) * StandardError(baseline, 0, units, options);
  for (int i = 0; i < 100 && high < most && !IsFound(baseline, high, units, options); ++i)
    high *= 2;
  high = std::fmin(high, most);
  if (!IsFound(baseline, high, units, options)) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%.0f units are too few to find any effect", units));
  }
  double low = 0;
  for (int i = 0; i < 200; ++i) {
    const double middle = low + (high - low) / 2;
    if (middle == low || middle == high) break;
    (IsFound(baseline, middle, units, options) ? high : low) = middle;
  }
  return high;
}

absl::StatusOr<double> PlannedUnits(const Baseline& baseline, double effect,
                                    const PlanOptions& options) {
  SKIPSTONE_RETURN_IF_ERROR(Validate(baseline, options));
  const double changed = baseline.value + effect * (options.is_relative ? baseline.value : 1);
  if (!std::isfinite(effect) || effect == 0 || (baseline.is_proportion && !IsShare(changed))) {
    return absl::InvalidArgumentError(absl::StrFormat("no plan for an effect of %g", effect));
  }
  double found = 2;
  while (found <= kMostUnits && !IsFound(baseline, effect, found, options)) found *= 2;
  if (found > kMostUnits) {
    return absl::OutOfRangeError(absl::StrFormat("an effect of %g needs too many units", effect));
  }
  double missed = found == 2 ? 1 : found / 2;
  while (found - missed > 1) {
    const double middle = std::floor((found + missed) / 2);
    (IsFound(baseline, effect, middle, options) ? found : missed) = middle;
  }
  return found;
}

absl::StatusOr<double> PlannedSeconds(const Baseline& baseline, double effect,
                                      double units_per_second, const PlanOptions& options) {
  if (!std::isfinite(units_per_second) || !(units_per_second > 0)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("units per second must be finite and above 0: %g", units_per_second));
  }
  SKIPSTONE_ASSIGN_OR_RETURN(const double units, PlannedUnits(baseline, effect, options));
  return units / units_per_second;
}

}  // namespace skipstone::statistics
