// A limit that an arm must keep, as a test that one may look at after every value.
//
//   auto guardrail = Guardrail::Create({.metric = GuardrailMetric::kQuantile, .quantile = 0.99,
//                                       .limit = 0.25, .minimum = 500});   // p99 of TTFT <= 250 ms
//   guardrail->Add(ttft_seconds);
//   if (guardrail->Look() == Verdict::kBreached) TurnOff(arm);
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/statistics/confidence_sequence.h"
#include "base/statistics/moments.h"

namespace skipstone::statistics {

enum class GuardrailMetric {
  kMean,        // of values
  kProportion,  // of values that are 1 among values 0 and 1
  kRatio,       // sum of values / sum of denominators
  kQuantile,    // of values
};

struct GuardrailOptions {
  GuardrailMetric metric = GuardrailMetric::kMean;
  double quantile = 0.99;  // of kQuantile; in (0, 1)
  double limit = 0;        // finite; of kProportion in (0, 1)
  bool is_lower = false;   // the metric must be at least, not at most, the limit
  int64_t minimum = 100;   // values before the first verdict; >= 2
  double alpha = 0.05;     // in (0, 1/2)
  double tuning = 5'000;   // see SequentialOptions
};

enum class Verdict {
  kUndecided,
  kHolds,     // the metric keeps its limit, as far as this look can tell at alpha
  kBreached,  // it does not; stays so
};

// All that a guardrail has seen; plain data, to be stored and given back after a restart.
struct GuardrailState {
  // kMean and kRatio: value and denominator; kProportion: the value and 1; kQuantile: 1 for a value
  // beyond the limit, else 0, and 1.
  Moments<2> moments;
  double p_value = 1;  // the smallest of all looks
};

// An arm whose metric keeps the limit is found to be in breach, at any look ever, with a chance of
// at most alpha: exactly for proportions and quantiles (a quantile keeps its limit where the share
// of values beyond it keeps 1 - q: sequential_proportion.h), asymptotically for means and ratios
// (the mean of value - limit * denominator, which needs no delta method: confidence_sequence.h).
// Values may differ in distribution but not drag each other along: requests of one unit that do
// belong into one value, or one pair of a ratio. Not thread-safe.
class Guardrail {
 public:
  // InvalidArgument for options outside their ranges.
  static absl::StatusOr<Guardrail> Create(const GuardrailOptions& options);
  // ... and for a state that no guardrail of these options can have.
  static absl::StatusOr<Guardrail> Restore(const GuardrailOptions& options,
                                           const GuardrailState& state);

  // InvalidArgument for what is not finite, for a proportion that is not 0 or 1 and for a
  // denominator below 0: the value does not count. Denominators are for kRatio alone.
  absl::Status Add(double value, double denominator = 1);
  // Takes in the values that another guardrail of these options has seen; its looks remain its own.
  // InvalidArgument as above.
  absl::Status Merge(const GuardrailState& other);

  Verdict Look();

  const GuardrailState& state() const { return state_; }
  // The metric so far, and for kQuantile the share of values beyond the limit; nothing before the
  // first value and with denominators that sum to 0.
  std::optional<double> estimate() const;

 private:
  explicit Guardrail(const GuardrailOptions& options) : options_(options) {}
  // p-value of "the limit is kept"; of "it is broken" where `is_broken`.
  std::optional<double> PValue(bool is_broken) const;
  bool CountsValues() const;  // is a test of a proportion

  GuardrailOptions options_;
  GuardrailState state_;
};

}  // namespace skipstone::statistics
