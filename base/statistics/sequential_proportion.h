// Exact sequential tests and intervals of a proportion and of a quantile: valid at every look from
// the first, also where successes are rare or n is small. All functions are pure: any thread may
// call. Nothing is returned for counts or options outside their ranges.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/statistics/confidence_sequence.h"
#include "base/statistics/interval.h"

namespace skipstone::statistics {

struct Successes {
  int64_t n = 0;
  int64_t successes = 0;  // 0 to n
};

// p-value of "each trial succeeds with probability <= limit, whatever went before", 0 < limit < 1:
// one over the beta mixture's likelihood ratio, the mixture restricted to larger probabilities
// (Robbins 1970; Howard and Ramdas 2022, arXiv 1906.09712, theorem 1). The probability may change
// from trial to trial as long as it keeps to the limit. One-sided: alpha < 1/2.
std::optional<double> ProportionGreaterPValue(const Successes& counts, double limit,
                                              const SequentialOptions& options);

// Two-sided interval: the probabilities that the beta mixture around each does not reject.
std::optional<Interval> SequentialProportionInterval(const Successes& counts,
                                                     const SequentialOptions& options);

// Two-sided interval of the q-quantile, 0 < q < 1, of a stream of n = ascending.size() values, from
// all that came, in ascending order: the values x for which the shares of values <= x and of values
// < x fit q, each by the one-sided test at alpha / 2. Equal values do no harm. Infinite on a side
// where too few values lie beyond q. Values that are NaN give nothing.
std::optional<Interval> SequentialQuantileInterval(std::span<const double> ascending, double q,
                                                   const SequentialOptions& options);

}  // namespace skipstone::statistics
