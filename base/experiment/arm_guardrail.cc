#include "base/experiment/arm_guardrail.h"

#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace skipstone::experiment {
namespace {

using statistics::GuardrailMetric;
using statistics::GuardrailOptions;

// "p99", "p99.9" as 0.99, 0.999.
std::optional<double> QuantileOf(std::string_view text) {
  double percent = 0;
  if (!text.starts_with('p') || !absl::SimpleAtod(std::string(text.substr(1)), &percent) ||
      !(percent > 0) || !(percent < 100)) {
    return std::nullopt;
  }
  return percent / 100;
}

bool IsError(const std::string& outcome) { return outcome == "error" || outcome == "deadline"; }

}  // namespace

absl::StatusOr<ArmGuardrail> ArmGuardrail::Make(const GuardrailSpec& spec, Design design) {
  GuardrailOptions options{
      .limit = spec.limit, .is_lower = spec.is_lower, .minimum = spec.minimum, .alpha = spec.alpha};
  std::optional<Metric> metric;
  const std::pair<std::string_view, Metric> kSums[] = {
      {"kl", Metric::kKl},
      {"agreement", Metric::kAgreement},
      {"attributed_per_token", Metric::kAttributed}};
  for (const auto& [name, sum] : kSums) {
    if (spec.metric == name) metric = sum;
  }
  options.metric = GuardrailMetric::kRatio;
  if (spec.metric == "error_rate") {
    metric = Metric::kErrorRate;
    options.metric = GuardrailMetric::kProportion;
  }
  const std::string_view name = spec.metric;
  for (const auto& [prefix, latency] :
       {std::pair<std::string_view, Metric>("ttft_", Metric::kTtft), {"itl_", Metric::kItl}}) {
    const auto quantile =
        name.starts_with(prefix) ? QuantileOf(name.substr(prefix.size())) : std::nullopt;
    if (!quantile) continue;
    if (design != Design::kSwitchback) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: arms of a mixed experiment share steps, and so their latencies; it takes a "
          "switchback (unit window:60s)",
          spec.metric));
    }
    metric = latency;
    // Requests of a window depend on each other: its share of slow ones is one value.
    options.limit = 1 - *quantile;
  }
  if (!metric) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "'%s' is not kl, agreement, error_rate, attributed_per_token, ttft_p99 or itl_p99",
        spec.metric));
  }
  if (*metric >= Metric::kTtft && (spec.is_lower || !(spec.limit > 0))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: takes a greatest value above 0 s", spec.metric));
  }
  SKIPSTONE_ASSIGN_OR_RETURN(statistics::Guardrail test, statistics::Guardrail::Create(options));
  ArmGuardrail guardrail(spec, *metric, std::move(test));
  guardrail.options_ = options;
  return guardrail;
}

void ArmGuardrail::Take(const ExposureRecord& record, const Exposure& exposure) {
  if (exposure.window &&
      (!exposure.window->counted || exposure.window->ended_index != exposure.window->index)) {
    return;
  }
  // Values that are not finite do not count; nothing else can be wrong with these.
  const auto add = [this](double value, double denominator) {
    (void)test_.Add(value, denominator);
  };
  const auto& shadow = record.shadow;
  const double tokens = shadow ? static_cast<double>(shadow->sums.tokens) : 0;
  switch (metric_) {
    case Metric::kKl:
      return tokens > 0 ? add(shadow->sums.kl, tokens) : void();
    case Metric::kAgreement:
      return tokens > 0 ? add(static_cast<double>(shadow->sums.agrees), tokens) : void();
    case Metric::kErrorRate:
      return add(IsError(record.outcome) ? 1 : 0, 1);
    case Metric::kAttributed:
      if (record.generated_tokens == 0) return;
      return add(record.attributed_s, static_cast<double>(record.generated_tokens));
    case Metric::kTtft:
      if (record.ttft_s && exposure.window) TakeInWindow(*record.ttft_s, *exposure.window);
      return;
    case Metric::kItl:
      if (record.itl_mean_s && exposure.window) TakeInWindow(*record.itl_mean_s, *exposure.window);
      return;
  }
}

void ArmGuardrail::TakeInWindow(double seconds, const ExposureWindow& window) {
  if (window.index < window_) return;  // its window has been closed
  if (window.index > window_ && requests_ > 0) {
    (void)test_.Add(beyond_, requests_);
    beyond_ = requests_ = 0;
  }
  window_ = window.index;
  beyond_ += seconds > spec_.limit ? 1 : 0;
  requests_ += 1;
}

absl::Status ArmGuardrail::Restore(const statistics::GuardrailState& state) {
  SKIPSTONE_ASSIGN_OR_RETURN(test_, statistics::Guardrail::Restore(options_, state));
  return absl::OkStatus();
}

}  // namespace skipstone::experiment
