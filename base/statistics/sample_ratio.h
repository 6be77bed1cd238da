// Sample ratio mismatch: do the arms have as many units as their weights say? If not, assignment or
// logging is broken, and no other number of the report can be trusted.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace skipstone::statistics {

// Valid at every look: the multinomial test of Lindon and Malek 2020 (arXiv 2011.03567). Not
// thread-safe.
class SampleRatioTest {
 public:
  // Optimizely's: small mismatches are looked for, with weight for about as many units.
  static constexpr double kConcentration = 10'000;

  // `weights`: at least two, finite, > 0; only their proportions count. Else InvalidArgument, also
  // for a concentration that is not finite and > 0.
  static absl::StatusOr<SampleRatioTest> Create(std::vector<double> weights,
                                                double concentration = kConcentration);

  // One look at all units so far: `counts` of each arm, >= 0, as many as weights; else
  // InvalidArgument, and the look does not count.
  absl::Status Look(std::span<const int64_t> counts);

  // The smallest so far of 1 / Bayes factor, 1 before the first look: a mismatch where it is <=
  // alpha.
  double p_value() const { return p_value_; }

 private:
  SampleRatioTest(std::vector<double> probabilities, double concentration);

  std::vector<double> probabilities_;
  double concentration_;
  double p_value_ = 1;
};

// Pearson's chi-square, valid at one look at a time fixed before. Nothing without units and for
// what Create() and Look() refuse.
std::optional<double> SampleRatioChiSquarePValue(std::span<const int64_t> counts,
                                                 std::span<const double> weights);

}  // namespace skipstone::statistics
