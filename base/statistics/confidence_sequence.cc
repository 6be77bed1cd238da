#include "base/statistics/confidence_sequence.h"

#include <algorithm>
#include <cmath>

namespace skipstone::statistics {
namespace {

std::optional<double> ScaleAt(double alpha, double tuning) {
  if (!(alpha > 0 && alpha < 1) || !(tuning >= 1) || !std::isfinite(tuning)) return std::nullopt;
  const double a = -2 * std::log(alpha);
  return std::sqrt((a + std::log1p(a)) / tuning);
}

// n rho^2: how much the sample weighs against the mixture.
std::optional<double> Weight(double n, const std::optional<double>& rho) {
  if (!rho || !(n > 0)) return std::nullopt;
  return n * *rho * *rho;
}

// The logarithm of exp(...) in the mixture's martingale.
double Exponent(const Effect& effect, double null_value, double weight) {
  const double difference = effect.value - null_value;
  return difference * difference / effect.variance * weight / (2 * (weight + 1));
}

}  // namespace

std::optional<double> MixtureScale(const SequentialOptions& options) {
  return ScaleAt(options.alpha, options.tuning);
}

std::optional<double> OneSidedMixtureScale(const SequentialOptions& options) {
  return ScaleAt(2 * options.alpha, options.tuning);
}

std::optional<double> SequentialCritical(double n, const SequentialOptions& options) {
  const auto weight = Weight(n, MixtureScale(options));
  if (!weight) return std::nullopt;
  const double logarithm = std::log1p(*weight) / 2 - std::log(options.alpha);
  return std::sqrt(2 * (*weight + 1) / *weight * logarithm);
}

std::optional<Interval> SequentialInterval(const Effect& effect, const SequentialOptions& options) {
  const auto critical = SequentialCritical(effect.n, options);
  if (!critical) return std::nullopt;
  const double half = *critical * std::sqrt(effect.variance);
  return Interval{effect.value - half, effect.value + half};
}

std::optional<double> SequentialPValue(const Effect& effect, double null_value,
                                       const SequentialOptions& options) {
  const auto weight = Weight(effect.n, MixtureScale(options));
  if (!weight) return std::nullopt;
  const double log_p = std::log1p(*weight) / 2 - Exponent(effect, null_value, *weight);
  return std::exp(std::min(log_p, 0.0));
}

std::optional<double> SequentialLowerBound(const Effect& effect, const SequentialOptions& options) {
  const auto weight = Weight(effect.n, OneSidedMixtureScale(options));
  if (!weight) return std::nullopt;
  const double logarithm = std::log1p(std::sqrt(*weight + 1) / (2 * options.alpha));
  return effect.value - std::sqrt(effect.variance * 2 * (*weight + 1) / *weight * logarithm);
}

std::optional<double> SequentialGreaterPValue(const Effect& effect, double null_value,
                                              const SequentialOptions& options) {
  const auto weight = Weight(effect.n, OneSidedMixtureScale(options));
  if (!weight) return std::nullopt;
  if (effect.value <= null_value) return 1;
  const double p = std::sqrt(*weight + 1) / (2 * std::expm1(Exponent(effect, null_value, *weight)));
  return std::min(p, 1.0);
}

}  // namespace skipstone::statistics
