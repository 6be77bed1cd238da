#include "base/statistics/guardrail.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "base/statistics/sequential_proportion.h"
#include "base/status.h"

namespace skipstone::statistics {
namespace {

bool IsShare(double x) { return x > 0 && x < 1; }

absl::Status Validate(const GuardrailOptions& options) {
  if (!std::isfinite(options.limit) ||
      (options.metric == GuardrailMetric::kProportion && !IsShare(options.limit))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("no limit of a guardrail: %g", options.limit));
  }
  if (options.metric == GuardrailMetric::kQuantile && !IsShare(options.quantile)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("quantile must lie between 0 and 1: %g", options.quantile));
  }
  if (options.minimum < 2) {
    return absl::InvalidArgumentError(
        absl::StrFormat("minimum must be at least 2: %d", options.minimum));
  }
  if (!OneSidedMixtureScale({options.alpha, options.tuning})) {
    return absl::InvalidArgumentError(
        absl::StrFormat("alpha must lie between 0 and 1/2, tuning be finite and at least 1: %g, %g",
                        options.alpha, options.tuning));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Guardrail> Guardrail::Create(const GuardrailOptions& options) {
  return Restore(options, {});
}

absl::StatusOr<Guardrail> Guardrail::Restore(const GuardrailOptions& options,
                                             const GuardrailState& state) {
  SKIPSTONE_RETURN_IF_ERROR(Validate(options));
  Guardrail guardrail(options);
  SKIPSTONE_RETURN_IF_ERROR(guardrail.Merge(state));
  guardrail.state_.p_value = state.p_value;
  return guardrail;
}

bool Guardrail::CountsValues() const {
  return options_.metric == GuardrailMetric::kProportion ||
         options_.metric == GuardrailMetric::kQuantile;
}

absl::Status Guardrail::Merge(const GuardrailState& other) {
  const Moments<2>& moments = other.moments;
  const bool is_share = moments.mean[0] >= 0 && moments.mean[0] <= 1;
  if (moments.n < 0 || !moments.IsFinite() || !(moments.comoment[0] >= 0) ||
      !(moments.comoment[2] >= 0) || !(other.p_value >= 0 && other.p_value <= 1) ||
      (CountsValues() && !is_share)) {
    return absl::InvalidArgumentError("not the state of a guardrail of these options");
  }
  state_.moments.Merge(moments);
  return absl::OkStatus();
}

absl::Status Guardrail::Add(double value, double denominator) {
  if (!std::isfinite(value) || !std::isfinite(denominator) || denominator < 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("no value of a guardrail: %g / %g", value, denominator));
  }
  if (options_.metric == GuardrailMetric::kProportion && value != 0 && value != 1) {
    return absl::InvalidArgumentError(absl::StrFormat("neither 0 nor 1: %g", value));
  }
  if (options_.metric == GuardrailMetric::kQuantile) {
    value = options_.is_lower ? value < options_.limit : value > options_.limit;
  }
  if (options_.metric != GuardrailMetric::kRatio) denominator = 1;
  state_.moments.Add({value, denominator});
  return absl::OkStatus();
}

std::optional<double> Guardrail::PValue(bool is_broken) const {
  const SequentialOptions sequential = {options_.alpha, options_.tuning};
  const Moments<2>& moments = state_.moments;
  if (CountsValues()) {
    // Whole, but for what rounding left of the mean.
    const auto ones = std::clamp<int64_t>(std::llround(moments.mean[0] * moments.n), 0, moments.n);
    double limit = options_.limit;
    bool is_below = options_.is_lower != is_broken;  // whether few ones speak against the null
    if (options_.metric == GuardrailMetric::kQuantile) {
      limit = options_.is_lower ? options_.quantile : 1 - options_.quantile;
      is_below = is_broken;
    }
    return is_below ? ProportionGreaterPValue({moments.n, moments.n - ones}, 1 - limit, sequential)
                    : ProportionGreaterPValue({moments.n, ones}, limit, sequential);
  }
  const double sign = options_.is_lower != is_broken ? -1 : 1;
  const double l = options_.limit;
  const auto effect = SingleEffect(Estimate{
      .n = moments.n,
      .value = sign * (moments.mean[0] - l * moments.mean[1]),
      .unit_variance =
          moments.Variance(0) - 2 * l * moments.Covariance(0, 1) + l * l * moments.Variance(1)});
  if (!effect) return std::nullopt;
  return SequentialGreaterPValue(*effect, 0, sequential);
}

Verdict Guardrail::Look() {
  if (state_.p_value > options_.alpha && state_.moments.n >= options_.minimum) {
    state_.p_value = std::min(state_.p_value, PValue(false).value_or(1));
  }
  if (state_.p_value <= options_.alpha) return Verdict::kBreached;
  if (state_.moments.n < options_.minimum) return Verdict::kUndecided;
  return PValue(true).value_or(1) <= options_.alpha ? Verdict::kHolds : Verdict::kUndecided;
}

std::optional<double> Guardrail::estimate() const {
  const Moments<2>& moments = state_.moments;
  const double estimate = moments.mean[0] / moments.mean[1];
  if (moments.n == 0 || !std::isfinite(estimate)) return std::nullopt;
  return estimate;
}

}  // namespace skipstone::statistics
