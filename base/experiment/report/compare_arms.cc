#include "base/experiment/report/compare_arms.h"

#include <algorithm>
#include <cmath>

#include "base/statistics/confidence_sequence.h"
#include "base/statistics/switchback.h"

namespace skipstone::experiment {
namespace {

using statistics::Effect;
using statistics::Moments;

bool HasRatio(const Moments<2>& arm) { return arm.n > 0 && arm.mean[1] > 0 && arm.IsFinite(); }

double RatioOf(const Moments<2>& arm) { return arm.mean[0] / arm.mean[1]; }

// What units whose ratio never varies say of it. A share that was 0 or 1 so far need
// not stay so: its variance is that of one exception in the next two requests (Laplace). Other
// ratios are known numbers, as the full model's divergence from itself.
statistics::Estimate ConstantEstimate(const ReportMetric& metric, const Moments<2>& arm) {
  statistics::Estimate estimate = {.n = arm.n, .value = RatioOf(arm), .base = RatioOf(arm)};
  if (metric.kind != ReportMetric::Kind::kOutcome) return estimate;
  const double exception = 1 / (static_cast<double>(arm.n) * arm.mean[1] + 2);
  estimate.unit_variance = exception * (1 - exception) / arm.mean[1];
  return estimate;
}

std::optional<statistics::Estimate> EstimateOf(const ReportMetric& metric, const Moments<2>& arm) {
  if (!HasRatio(arm) || arm.n < kLeastUnits) return std::nullopt;
  return statistics::RatioEstimate(arm).value_or(ConstantEstimate(metric, arm));
}

// An interval without a bound tells nothing.
std::optional<statistics::Interval> Finite(const std::optional<statistics::Interval>& interval) {
  if (!interval || !std::isfinite(interval->low) || !std::isfinite(interval->high)) return {};
  return interval;
}

// Randomisation of more windows takes longer and tells no more than a p-value of 1 in 1,000 needs.
constexpr int kDraws = 1999;

}  // namespace

std::optional<Effect> RatioEffect(const ReportMetric& metric, const Moments<2>& control,
                                  const Moments<2>& treatment) {
  const auto compare = metric.is_relative ? statistics::RelativeEffect : statistics::AbsoluteEffect;
  return compare(EstimateOf(metric, control), EstimateOf(metric, treatment));
}

std::optional<EffectReport> CompareUnits(size_t metric, const MetricMoments& control,
                                         const MetricMoments& treatment,
                                         const ReportOptions& options) {
  const bool is_relative = ReportMetrics()[metric].is_relative;
  const Moments<2>& c = control[metric];
  const Moments<2>& t = treatment[metric];
  if (!HasRatio(c) || !HasRatio(t) || (is_relative && RatioOf(c) == 0)) return std::nullopt;
  const double difference = RatioOf(t) - RatioOf(c);
  EffectReport report = {.metric = metric,
                         .value = is_relative ? difference / RatioOf(c) : difference};
  const auto effect = RatioEffect(ReportMetrics()[metric], c, t);
  if (!effect) return report;
  const statistics::SequentialOptions sequential = {options.alpha, options.tuning};
  report.interval = Finite(statistics::SequentialInterval(*effect, sequential));
  report.p_value = statistics::SequentialPValue(*effect, 0, sequential);
  return report;
}

std::optional<EffectReport> CompareWindows(size_t metric,
                                           const std::map<int64_t, WindowTable::Row>& rows,
                                           int control, int treatment,
                                           const ReportOptions& options) {
  const bool is_relative = ReportMetrics()[metric].is_relative;
  const auto windows = WindowsOf(rows, ReportMetrics()[metric], is_relative);
  const auto result = statistics::EstimateSwitchback(
      windows, {.control = control,
                .treatment = treatment,
                .weight = is_relative ? statistics::WindowWeight::kWindow
                                      : statistics::WindowWeight::kDenominator,
                .carry_over = options.carry_over,
                .alpha = options.alpha,
                .draws = kDraws});
  if (!result.ok()) return std::nullopt;
  const auto shown = [&](double value) { return is_relative ? std::expm1(value) : value; };
  EffectReport report = {
      .metric = metric, .value = shown(result->difference), .p_value = result->p_value};
  report.interval = Finite({{shown(result->interval.low), shown(result->interval.high)}});
  return report;
}

}  // namespace skipstone::experiment
