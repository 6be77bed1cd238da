#include "base/statistics/sequential_proportion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/statistics/multinomial_mixture.h"
#include "base/statistics/special_functions.h"

namespace skipstone::statistics {
namespace {

bool IsValid(const Successes& counts) {
  return counts.n >= 1 && counts.successes >= 0 && counts.successes <= counts.n;
}

// A beta distribution of mean p and this concentration varies by p (1 - p) rho^2, about: the
// mixture that is tightest where the asymptotic one is.
double Concentration(double rho) { return 1 / (rho * rho); }

double LogFactor(const Successes& counts, double p, double concentration) {
  const std::array<int64_t, 2> outcomes = {counts.successes, counts.n - counts.successes};
  const std::array<double, 2> probabilities = {p, 1 - p};
  return LogMixtureBayesFactor(outcomes, probabilities, concentration);
}

// Where `is_rejected`, true at `outer` and false at `inner`, changes.
template <class Predicate>
double Border(double outer, double inner, Predicate is_rejected) {
  for (int i = 0; i < 200; ++i) {
    const double middle = outer + (inner - outer) / 2;
    if (middle == outer || middle == inner) break;
    (is_rejected(middle) ? outer : inner) = middle;
  }
  return outer;
}

// The smallest number of n trials, each of a success with probability <= limit, that is too large;
// n + 1 if none is.
int64_t SmallestRejected(int64_t n, double limit, const SequentialOptions& options) {
  int64_t kept = -1;
  int64_t rejected = n + 1;
  while (rejected - kept > 1) {
    const int64_t middle = kept + (rejected - kept) / 2;
    const auto p = ProportionGreaterPValue({n, middle}, limit, options);
    (p && *p <= options.alpha ? rejected : kept) = middle;
  }
  return rejected;
}

}  // namespace

std::optional<double> ProportionGreaterPValue(const Successes& counts, double limit,
                                              const SequentialOptions& options) {
  const auto rho = OneSidedMixtureScale(options);
  if (!rho || !IsValid(counts) || !(limit > 0 && limit < 1)) return std::nullopt;
  const double concentration = Concentration(*rho);
  const double above = concentration * limit;
  const double below = concentration * (1 - limit);
  const double prior = RegularizedBeta(below, above, 1 - limit, limit);
  const double posterior = RegularizedBeta(below + (counts.n - counts.successes),
                                           above + counts.successes, 1 - limit, limit);
  if (!(posterior > 0)) return 1;
  const double log_factor =
      LogFactor(counts, limit, concentration) + std::log(posterior) - std::log(prior);
  return std::exp(std::min(-log_factor, 0.0));
}

std::optional<Interval> SequentialProportionInterval(const Successes& counts,
                                                     const SequentialOptions& options) {
  const auto rho = MixtureScale(options);
  if (!rho || !IsValid(counts)) return std::nullopt;
  const double most = -std::log(options.alpha);
  const auto is_rejected = [&](double p) {
    return LogFactor(counts, p, Concentration(*rho)) >= most;
  };
  const double estimate = static_cast<double>(counts.successes) / counts.n;
  Interval interval = {0, 1};
  if (counts.successes > 0) interval.low = Border(0, estimate, is_rejected);
  if (counts.successes < counts.n) interval.high = Border(1, estimate, is_rejected);
  return interval;
}

std::optional<Interval> SequentialQuantileInterval(std::span<const double> ascending, double q,
                                                   const SequentialOptions& options) {
  const SequentialOptions one_side = {options.alpha / 2, options.tuning};
  if (ascending.empty() || !(q > 0 && q < 1) || !MixtureScale(options)) return std::nullopt;
  if (std::any_of(ascending.begin(), ascending.end(), [](double x) { return std::isnan(x); })) {
    return std::nullopt;
  }
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto n = static_cast<int64_t>(ascending.size());
  // At the quantile at most `beyond` - 1 values lie above it and `within` - 1 below it.
  const int64_t beyond = SmallestRejected(n, 1 - q, one_side);
  const int64_t within = SmallestRejected(n, q, one_side);
  Interval interval = {-kInfinity, kInfinity};
  if (beyond <= n) interval.low = ascending[n - beyond];
  if (within <= n) interval.high = ascending[within - 1];
  return interval;
}

}  // namespace skipstone::statistics
