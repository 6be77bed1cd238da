// Asymptotic confidence sequences: intervals and p-values that hold at every look together, however
// often and whenever one looks, and so also where an experiment stops because of what it showed.
// Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and
// asymptotic confidence sequences" (arXiv 2103.06476): two-sided eq. 9, one-sided eq. 134 of
// version 7. Asymptotic: as with every central limit theorem the first looks need a sample that is
// not small. All functions are pure: any thread may call.
#pragma once

#include <optional>

#include "base/statistics/effects.h"

namespace skipstone::statistics {

struct SequentialOptions {
  double alpha = 0.05;    // two-sided: in (0, 1); one-sided: in (0, 1/2)
  double tuning = 5'000;  // >= 1, units at which the interval is about tightest for its cost;
                          // 5,000 is GrowthBook's
};

// rho, the standard deviation of the mixture's effects in standard deviations of a unit, for
// intervals tightest at `tuning` units (eq. 161). Nothing where options are outside their ranges.
std::optional<double> MixtureScale(const SequentialOptions& options);
// ... for one-sided bounds, which at alpha are about as wide as two-sided intervals at 2 alpha.
std::optional<double> OneSidedMixtureScale(const SequentialOptions& options);

// Half the two-sided interval's width after n > 0 units, in standard errors: where a test of one
// look has 1.96. The price of looking, also when an experiment is planned.
std::optional<double> SequentialCritical(double n, const SequentialOptions& options);

std::optional<Interval> SequentialInterval(const Effect& effect, const SequentialOptions& options);
// Of value = `null_value`, by inversion of the interval at the mixture of options.alpha. It may be
// compared with alpha at any look, and the smallest of all looks too.
std::optional<double> SequentialPValue(const Effect& effect, double null_value,
                                       const SequentialOptions& options);

// One-sided: value >= the bound at all looks with probability 1 - alpha. An upper bound is minus
// the lower bound of the effect with its sign turned.
std::optional<double> SequentialLowerBound(const Effect& effect, const SequentialOptions& options);
// Of value <= `null_value`.
std::optional<double> SequentialGreaterPValue(const Effect& effect, double null_value,
                                              const SequentialOptions& options);

}  // namespace skipstone::statistics
