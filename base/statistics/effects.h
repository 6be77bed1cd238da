// What an arm's units come to, and how two arms differ: means, proportions, ratios, quantiles and
// means and ratios adjusted by a covariate from before the experiment (CUPED).
//
//   Moments<2> pooled = control;
//   pooled.Merge(treatment);
//   const double theta = CupedTheta(pooled);
//   auto effect = RelativeEffect(CupedMeanEstimate(control, theta),
//                                CupedMeanEstimate(treatment, theta));
//   if (effect) auto interval = WelchInterval(*effect, 0.05);
//
// std::nullopt stands for "unknown": fewer than 2 units, no variance, a denominator of 0, a value
// that is not finite; no result is NaN. All functions are pure: any thread may call.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/statistics/interval.h"
#include "base/statistics/moments.h"

namespace skipstone::statistics {

// Of one arm.
struct Estimate {
  int64_t n = 0;             // units
  double value = 0;          // a mean, proportion, ratio or quantile
  double base = 0;           // ... before adjustment: what relative differences divide by
  double unit_variance = 0;  // > 0: the variance of `value` is this / n
};

// Values {value}.
std::optional<Estimate> MeanEstimate(const Moments<1>& arm);
// Variance p (1 - p).
std::optional<Estimate> ProportionEstimate(int64_t n, int64_t successes);
// Values {numerator, denominator} of each unit: sum / sum, with the variance of the delta method
// (Deng, Knoblich and Lu 2018), which holds however a unit's requests depend on each other.
std::optional<Estimate> RatioEstimate(const Moments<2>& arm);
// The q-quantile, 0 < q < 1, of independent values in ascending order. Its variance is that of a
// normal whose 95 % interval is the one between order statistics.
std::optional<Estimate> QuantileEstimate(std::span<const double> ascending, double q);

// CUPED (Deng, Xu, Kohavi and Walker 2013). Values {value, covariate}; theta, the slope of value on
// covariate, is taken from all arms together; 0, no adjustment, where the covariate has no
// variance.
double CupedTheta(const Moments<2>& pooled);
std::optional<Estimate> CupedMeanEstimate(const Moments<2>& arm, double theta);
// The same for ratios: values {numerator, denominator} during and {numerator, denominator} before
// the experiment; each ratio is replaced by its linearisation over units.
double CupedRatioTheta(const Moments<4>& pooled);
std::optional<Estimate> CupedRatioEstimate(const Moments<4>& arm, double theta);

// Treatment against control.
struct Effect {
  double value = 0;
  double variance = 0;  // of `value`; > 0
  int64_t n = 0;        // units of both
  double degrees = 0;   // of freedom (Welch and Satterthwaite)
};

std::optional<Effect> AbsoluteEffect(const std::optional<Estimate>& control,
                                     const std::optional<Estimate>& treatment);
// (treatment - control) / control, 0.1 for 10 % more, by the delta method.
std::optional<Effect> RelativeEffect(const std::optional<Estimate>& control,
                                     const std::optional<Estimate>& treatment);
// One arm against 0, where its value itself is in question.
std::optional<Effect> SingleEffect(const std::optional<Estimate>& arm);

// Valid at one look, at a time fixed before. Nothing for alpha outside (0, 1).
std::optional<Interval> WelchInterval(const Effect& effect, double alpha);
// Two-sided, of value = `null_value`.
double WelchPValue(const Effect& effect, double null_value = 0);

}  // namespace skipstone::statistics
