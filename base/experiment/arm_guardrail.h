// A limit that an arm of an experiment must keep, fed with the records of its requests: a test that
// holds at every look (base/statistics/guardrail.h).
//
//   auto guardrail = ArmGuardrail::Make({.metric = "kl", .limit = 0.2}, Design::kMixed);
//   guardrail->Take(record, exposure);
//   if (guardrail->Look() == statistics::Verdict::kBreached) ...
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/experiment/exposure_record.h"
#include "base/statistics/guardrail.h"

namespace skipstone::experiment {

struct GuardrailSpec {
  // kl: nats a token from the full model, of requests that were scored once more.
  // agreement: share of their tokens whose likeliest one is the full model's.
  // error_rate: share of requests that ended with an error or past their deadline.
  // attributed_per_token: attributed seconds a generated token.
  // ttft_p99, itl_p95, ...: quantiles of seconds, of switchbacks alone: arms that share steps share
  // their latencies.
  std::string metric;
  double limit = 0;
  bool is_lower = false;  // the metric must be at least, not at most, the limit
  // Values before the first verdict, >= 2: requests, or windows of a quantile.
  int64_t minimum = 100;
  double alpha = 0.01;  // of a false alarm, ever; in (0, 1/2)
};

// Not thread-safe.
class ArmGuardrail {
 public:
  // INVALID_ARGUMENT: a metric that is none, or none of this design, or numbers outside their
  // ranges.
  static absl::StatusOr<ArmGuardrail> Make(const GuardrailSpec& spec, Design design);

  // Of a request of the arm, `exposure` one of its own. Requests that say nothing about the metric
  // do not count, of a switchback neither those of washouts nor what ended in another window.
  void Take(const ExposureRecord& record, const Exposure& exposure);

  statistics::Verdict Look() { return test_.Look(); }
  std::optional<double> estimate() const { return test_.estimate(); }
  const GuardrailSpec& spec() const { return spec_; }

  // To go on after a restart; a window that is under way begins anew.
  const statistics::GuardrailState& state() const { return test_.state(); }
  // INVALID_ARGUMENT: a state that no guardrail like this can have; then nothing changes.
  absl::Status Restore(const statistics::GuardrailState& state);

 private:
  enum class Metric { kKl, kAgreement, kErrorRate, kAttributed, kTtft, kItl };
  ArmGuardrail(const GuardrailSpec& spec, Metric metric, statistics::Guardrail test)
      : spec_(spec), metric_(metric), test_(std::move(test)) {}
  void TakeInWindow(double seconds, const ExposureWindow& window);

  GuardrailSpec spec_;
  Metric metric_;
  statistics::Guardrail test_;
  statistics::GuardrailOptions options_;
  // The window under way: requests beyond the limit, and all.
  int64_t window_ = -1;
  double beyond_ = 0;
  double requests_ = 0;
};

}  // namespace skipstone::experiment
