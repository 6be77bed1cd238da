#include "base/statistics/sample_ratio.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/statistics/distributions.h"
#include "base/statistics/multinomial_mixture.h"

namespace skipstone::statistics {
namespace {

// Divided by their sum; empty if they are no weights of two or more arms.
std::vector<double> Probabilities(std::span<const double> weights) {
  const bool are_valid =
      weights.size() >= 2 && std::all_of(weights.begin(), weights.end(),
                                         [](double w) { return std::isfinite(w) && w > 0; });
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (!are_valid || !std::isfinite(sum)) return {};
  std::vector<double> probabilities(weights.begin(), weights.end());
  for (double& p : probabilities) p /= sum;
  return probabilities;
}

bool AreCounts(std::span<const int64_t> counts, size_t arms) {
  return counts.size() == arms &&
         std::all_of(counts.begin(), counts.end(), [](int64_t count) { return count >= 0; });
}

}  // namespace

absl::StatusOr<SampleRatioTest> SampleRatioTest::Create(std::vector<double> weights,
                                                        double concentration) {
  std::vector<double> probabilities = Probabilities(weights);
  if (probabilities.empty()) {
    return absl::InvalidArgumentError("a sample ratio needs two or more finite weights above 0");
  }
  if (!std::isfinite(concentration) || !(concentration > 0)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("concentration must be finite and above 0: %g", concentration));
  }
  return SampleRatioTest(std::move(probabilities), concentration);
}

SampleRatioTest::SampleRatioTest(std::vector<double> probabilities, double concentration)
    : probabilities_(std::move(probabilities)), concentration_(concentration) {}

absl::Status SampleRatioTest::Look(std::span<const int64_t> counts) {
  if (!AreCounts(counts, probabilities_.size())) {
    return absl::InvalidArgumentError(
        absl::StrFormat("need %d counts of units, none below 0", probabilities_.size()));
  }
  const double log_factor = LogMixtureBayesFactor(counts, probabilities_, concentration_);
  p_value_ = std::min(p_value_, std::exp(-log_factor));
  return absl::OkStatus();
}

std::optional<double> SampleRatioChiSquarePValue(std::span<const int64_t> counts,
                                                 std::span<const double> weights) {
  const std::vector<double> probabilities = Probabilities(weights);
  if (probabilities.empty() || !AreCounts(counts, probabilities.size())) return std::nullopt;
  const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
  if (total == 0) return std::nullopt;
  double statistic = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = total * probabilities[i];
    statistic += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  return ChiSquareSurvival(statistic, counts.size() - 1.0);
}

}  // namespace skipstone::statistics
