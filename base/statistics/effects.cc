#include "base/statistics/effects.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/statistics/distributions.h"

namespace skipstone::statistics {
namespace {

// Nothing where the estimate cannot be told.
std::optional<Estimate> Checked(const Estimate& e) {
  const bool is_known = e.n >= 2 && std::isfinite(e.value) && std::isfinite(e.base) &&
                        std::isfinite(e.unit_variance) && e.unit_variance > 0;
  return is_known ? std::optional(e) : std::nullopt;
}

// Covariance of the weighted sums a . x and b . x of a unit's values.
template <size_t K>
double WeightedCovariance(const Moments<K>& m, const std::array<double, K>& a,
                          const std::array<double, K>& b) {
  double sum = 0;
  for (size_t i = 0; i < K; ++i) {
    for (size_t j = 0; j < K; ++j) sum += a[i] * b[j] * m.Covariance(i, j);
  }
  return sum;
}

// A unit's part in the ratio x_i / x_(i+1), to first order, as weights of its values.
template <size_t K>
std::array<double, K> RatioGradient(const Moments<K>& m, size_t i) {
  std::array<double, K> weights = {};
  weights[i] = 1 / m.mean[i + 1];
  weights[i + 1] = -m.mean[i] / (m.mean[i + 1] * m.mean[i + 1]);
  return weights;
}

std::optional<Effect> Checked(const Effect& e) {
  const bool is_known = std::isfinite(e.value) && std::isfinite(e.variance) && e.variance > 0 &&
                        std::isfinite(e.degrees) && e.degrees > 0;
  return is_known ? std::optional(e) : std::nullopt;
}

double WelchDegrees(const Estimate& control, const Estimate& treatment) {
  const double c = control.unit_variance / control.n;
  const double t = treatment.unit_variance / treatment.n;
  return (c + t) * (c + t) / (c * c / (control.n - 1) + t * t / (treatment.n - 1));
}

}  // namespace

std::optional<Estimate> MeanEstimate(const Moments<1>& arm) {
  return Checked(Estimate{arm.n, arm.mean[0], arm.mean[0], arm.Variance(0)});
}

std::optional<Estimate> ProportionEstimate(int64_t n, int64_t successes) {
  if (n < 2 || successes < 0 || successes > n) return std::nullopt;
  const double p = static_cast<double>(successes) / n;
  return Checked(Estimate{n, p, p, p * (1 - p)});
}

std::optional<Estimate> RatioEstimate(const Moments<2>& arm) {
  if (arm.mean[1] == 0) return std::nullopt;
  const auto gradient = RatioGradient(arm, 0);
  const double ratio = arm.mean[0] / arm.mean[1];
  return Checked(Estimate{arm.n, ratio, ratio, WeightedCovariance(arm, gradient, gradient)});
}

std::optional<Estimate> QuantileEstimate(std::span<const double> ascending, double q) {
  const auto n = static_cast<int64_t>(ascending.size());
  if (n < 2 || !(q > 0 && q < 1)) return std::nullopt;
  const double z = NormalQuantile(0.975);
  const double spread = z * std::sqrt(n * q * (1 - q));
  if (n * q - spread < 1 || n * q + spread > n) return std::nullopt;  // an end beyond all values
  // Between its neighbours: whole ranks would widen the intervals of small samples.
  const auto at = [&](double rank) {
    const auto below = static_cast<size_t>(rank);
    const double low = ascending[below - 1];
    return low + (rank - below) * (ascending[std::min<size_t>(below, n - 1)] - low);
  };
  const double value = ascending[static_cast<size_t>(std::ceil(n * q)) - 1];
  const double error = (at(n * q + spread) - at(n * q - spread)) / (2 * z);
  return Checked(Estimate{n, value, value, error * error * n});
}

double CupedTheta(const Moments<2>& pooled) {
  const double theta = pooled.Covariance(0, 1) / pooled.Variance(1);
  return std::isfinite(theta) ? theta : 0;
}

std::optional<Estimate> CupedMeanEstimate(const Moments<2>& arm, double theta) {
  const std::array<double, 2> weights = {1, -theta};
  return Checked(Estimate{arm.n, arm.mean[0] - theta * arm.mean[1], arm.mean[0],
                          WeightedCovariance(arm, weights, weights)});
}

double CupedRatioTheta(const Moments<4>& pooled) {
  const auto before = RatioGradient(pooled, 2);
  const double theta = WeightedCovariance(pooled, RatioGradient(pooled, 0), before) /
                       WeightedCovariance(pooled, before, before);
  return std::isfinite(theta) ? theta : 0;
}

std::optional<Estimate> CupedRatioEstimate(const Moments<4>& arm, double theta) {
  if (arm.mean[1] == 0 || (arm.mean[3] == 0 && theta != 0)) return std::nullopt;
  const double ratio = arm.mean[0] / arm.mean[1];
  std::array<double, 4> weights = RatioGradient(arm, 0);
  double value = ratio;
  if (theta != 0) {
    const auto before = RatioGradient(arm, 2);
    for (size_t i = 2; i < 4; ++i) weights[i] = -theta * before[i];
    value -= theta * arm.mean[2] / arm.mean[3];
  }
  return Checked(Estimate{arm.n, value, ratio, WeightedCovariance(arm, weights, weights)});
}

std::optional<Effect> AbsoluteEffect(const std::optional<Estimate>& control,
                                     const std::optional<Estimate>& treatment) {
  if (!control || !treatment) return std::nullopt;
  return Checked(
      Effect{treatment->value - control->value,
             control->unit_variance / control->n + treatment->unit_variance / treatment->n,
             control->n + treatment->n, WelchDegrees(*control, *treatment)});
}

std::optional<Effect> RelativeEffect(const std::optional<Estimate>& control,
                                     const std::optional<Estimate>& treatment) {
  if (!control || !treatment || control->base == 0) return std::nullopt;
  // Divided one after the other: squares of small bases would underflow.
  const double slope = treatment->base / control->base;
  const double variance = (treatment->unit_variance / treatment->n +
                           slope * slope * control->unit_variance / control->n) /
                          control->base / control->base;
  return Checked(Effect{(treatment->value - control->value) / control->base, variance,
                        control->n + treatment->n, WelchDegrees(*control, *treatment)});
}

std::optional<Effect> SingleEffect(const std::optional<Estimate>& arm) {
  if (!arm) return std::nullopt;
  return Checked(
      Effect{arm->value, arm->unit_variance / arm->n, arm->n, static_cast<double>(arm->n - 1)});
}

std::optional<Interval> WelchInterval(const Effect& effect, double alpha) {
  if (!(alpha > 0 && alpha < 1)) return std::nullopt;
  const double half = -StudentQuantile(alpha / 2, effect.degrees) * std::sqrt(effect.variance);
  return Interval{effect.value - half, effect.value + half};
}

double WelchPValue(const Effect& effect, double null_value) {
  const double t = std::abs(effect.value - null_value) / std::sqrt(effect.variance);
  return 2 * StudentCdf(-t, effect.degrees);
}

}  // namespace skipstone::statistics
