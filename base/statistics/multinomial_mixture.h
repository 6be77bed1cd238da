// The martingale behind exact sequential tests of counts. Pure: any thread may call.
#pragma once

#include <cstdint>
#include <span>

namespace skipstone::statistics {

// ln of the Bayes factor of a Dirichlet mixture with mean `probabilities` and `concentration` > 0,
// against those probabilities themselves, after `counts` in all. Its exponential is a martingale of
// mean 1 while the probabilities are true, so it ever exceeds 1 / alpha with a chance of at most
// alpha (Ville): for two classes Robbins 1970, for more Lindon and Malek 2020 (arXiv 2011.03567).
// By deviances, which keep their digits at any count. Equally many counts >= 0 and probabilities >
// 0, which sum to 1.
double LogMixtureBayesFactor(std::span<const int64_t> counts, std::span<const double> probabilities,
                             double concentration);

}  // namespace skipstone::statistics
