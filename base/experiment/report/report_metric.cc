#include "base/experiment/report/report_metric.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/table.h"

namespace skipstone::experiment {
namespace {

using Kind = ReportMetric::Kind;

constexpr std::array<ReportMetric, kReportMetrics> kMetrics = {{
    {Kind::kOutcome, "failure_ratio", "failed %", "share of failed requests",
     "Requests that ended in error, rejected or deadline.", kFailures, kRequests, 100, 2, false,
     "points", -1},
    {Kind::kQuality, "kl_nats", "KL nats/token", "KL",
     "Divergence of the level from the full model at the served tokens, over the vocabulary.",
     kKlNats, kShadowTokens, 1, 4, false, "nats/token", -1},
    {Kind::kQuality, "agreement_ratio", "agreement %", "top-1 agreement",
     "Served tokens at which level and full model have the same likeliest token.", kAgreeingTokens,
     kShadowTokens, 100, 2, false, "points", 1},
    {Kind::kQuality, "logprob_difference_nats", "log-probability lost nats/token",
     "log-probability lost",
     "Log-probability of the served tokens under the full model less that under the level.",
     kLogprobNats, kShadowTokens, 1, 4, false, "nats/token", 0},
    {Kind::kQuality, "brier", "Brier score", "Brier score",
     "Mean squared difference of the likeliest token's probability from whether it was served.",
     kBrier, kShadowTokens, 1, 4, false, "", 0},
    {Kind::kCost, "attributed_s_per_request", "attributed ms/request",
     "attributed time per request", "The request's share of the steps that it was in.",
     kAttributedS, kRequests, 1e3, 2, true, "%", -1},
    {Kind::kCost, "attributed_s_per_token", "attributed ms/1k tokens", "attributed time per token",
     "The same over the tokens of prompts and outputs.", kAttributedS, kTokens, 1e6, 1, true, "%",
     -1},
    {Kind::kCost, "generated_tokens", "tokens generated/request", "tokens generated per request",
     "Tokens of all outputs.", kGeneratedTokens, kRequests, 1, 1, true, "%", 0},
    {Kind::kCost, "kv_pages", "KV pages/request", "KV pages per request",
     "Pages of the KV cache that a request held at its end.", kPages, kRequests, 1, 1, true, "%",
     -1},
    {Kind::kLatency, "ttft_s", "TTFT ms", "time to first token", "Arrival to first token.", kTtftS,
     kTtftRequests, 1e3, 1, true, "%", -1},
    {Kind::kLatency, "itl_s", "ITL ms", "inter-token latency",
     "Time between the tokens of an output, of each request its mean.", kItlS, kItlRequests, 1e3, 2,
     true, "%", -1},
    {Kind::kLatency, "e2e_s", "E2E ms", "end-to-end latency", "Arrival to final status.", kE2eS,
     kRequests, 1e3, 1, true, "%", -1},
}};

}  // namespace

std::string ReportMetric::ValueText(double value) const {
  return FormatNumber(value * scale, decimals);
}

std::string ReportMetric::EffectNumber(double effect) const {
  if (!std::isfinite(effect)) return "-";
  return absl::StrFormat("%+.*f", is_relative ? 1 : decimals, Shown(effect));
}

std::string ReportMetric::EffectText(double effect) const {
  const std::string number = EffectNumber(effect);
  if (number == "-" || *effect_unit == '\0') return number;
  return absl::StrCat(number, " ", effect_unit);
}

std::string ReportMetric::IntervalText(const statistics::Interval& interval) const {
  const int shown = is_relative ? 1 : decimals;
  return absl::StrFormat("[%+.*f, %+.*f]", shown, Shown(interval.low), shown, Shown(interval.high));
}

std::span<const ReportMetric> ReportMetrics() { return kMetrics; }

std::optional<size_t> MetricByKey(const std::string& key) {
  const auto found =
      std::ranges::find_if(kMetrics, [&](const ReportMetric& metric) { return metric.key == key; });
  if (found == kMetrics.end()) return std::nullopt;
  return static_cast<size_t>(found - kMetrics.begin());
}

const char* NameOf(Kind kind) {
  constexpr const char* kNames[] = {"Outcome", "Quality", "Cost", "Latency"};
  return kNames[static_cast<size_t>(kind)];
}

}  // namespace skipstone::experiment
