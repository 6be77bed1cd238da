#include "base/statistics/multinomial_mixture.h"

#include <cmath>
#include <cstddef>

#include "base/check.h"
#include "base/statistics/special_functions.h"

namespace skipstone::statistics {

double LogMixtureBayesFactor(std::span<const int64_t> counts, std::span<const double> probabilities,
                             double concentration) {
  SKIPSTONE_CHECK(counts.size() == probabilities.size());
  double total = concentration;
  for (const int64_t count : counts) total += count;
  // ln Gamma of prior and posterior by Stirling's formula: its powers add up to the deviances.
  double log_factor =
      std::log(total / concentration) / 2 + StirlingError(concentration) - StirlingError(total);
  for (size_t i = 0; i < counts.size(); ++i) {
    const double prior = concentration * probabilities[i];
    const double posterior = prior + counts[i];
    log_factor += Deviance(posterior, total * probabilities[i]) - std::log(posterior / prior) / 2 +
                  StirlingError(posterior) - StirlingError(prior);
  }
  return log_factor;
}

}  // namespace skipstone::statistics
