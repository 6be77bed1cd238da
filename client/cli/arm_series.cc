#include "client/cli/arm_series.h"

#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/experiment/report/report_builder.h"
#include "base/status.h"

namespace skipstone::client {
namespace {

using experiment::ArmTraffic;

struct Counted {
  const char* series;
  std::vector<experiment::Sum> sums;  // that it adds to
};

const std::vector<Counted>& CountedSeries() {
  static const auto* const all = new std::vector<Counted>{
      {"request_attributed_time_seconds_sum", {experiment::kAttributedS}},
      {"prompt_tokens_total", {experiment::kTokens}},
      {"generation_tokens_total", {experiment::kTokens, experiment::kGeneratedTokens}},
      {"shadow_kl_nats_count", {experiment::kShadowTokens}},
      {"shadow_kl_nats_sum", {experiment::kKlNats}},
  };
  return *all;
}

// A regular expression that this text alone meets, as it stands between quotes of PromQL.
std::string Quoted(const std::string& text) {
  std::string quoted;
  for (const char c : text) {
    const bool is_plain =
        absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == ' ';
    if (c == '"') {
      quoted += "\\\"";
    } else if (is_plain) {
      quoted += c;
    } else {
      absl::StrAppend(&quoted, "\\\\", c == '\\' ? "\\\\" : std::string(1, c));
    }
  }
  return quoted;
}

// By time and arm label, which is EXPERIMENT/ARM.
using TrafficByArm = std::map<std::pair<int64_t, std::string>, ArmTraffic>;

ArmTraffic& TrafficOf(int64_t time_unix_ms, const std::string& label, TrafficByArm& all) {
  const auto [found, is_new] = all.try_emplace({time_unix_ms, label});
  ArmTraffic& traffic = found->second;
  if (!is_new) return traffic;
  const size_t slash = label.find('/');
  traffic.experiment = label.substr(0, slash);
  traffic.arm = label.substr(slash + 1);
  traffic.time_unix_ms = time_unix_ms;
  for (const experiment::Sum unknown : {experiment::kPages, experiment::kAgreeingTokens,
                                        experiment::kLogprobNats, experiment::kBrier}) {
    traffic.sums[unknown] = ArmTraffic::kUnknown;
  }
  return traffic;
}

// The label of a series; empty: it has none.
std::string Label(const PrometheusSeries& series, const std::string& name) {
  const auto found = series.labels.find(name);
  return found == series.labels.end() ? "" : found->second;
}

void AddOutcomes(const PrometheusSeries& series, TrafficByArm& all) {
  const std::string arm = Label(series, "arm"), outcome = Label(series, "outcome");
  for (const auto& [time, value] : series.points) {
    if (!(value >= 0.5 && value < 1e15)) continue;  // no request, or not a number
    ArmTraffic& traffic = TrafficOf(time, arm, all);
    traffic.outcomes[outcome] += std::llround(value);
    traffic.sums[experiment::kRequests] += value;
    if (experiment::IsFailure(outcome)) traffic.sums[experiment::kFailures] += value;
  }
}

void AddSums(const PrometheusSeries& series, const std::vector<experiment::Sum>& sums,
             TrafficByArm& all) {
  const std::string arm = Label(series, "arm");
  for (const auto& [time, value] : series.points) {
    const auto traffic = all.find({time, arm});
    if (traffic == all.end() || !(value >= 0)) continue;
    for (const experiment::Sum sum : sums) traffic->second.sums[sum] += value;
  }
}

}  // namespace

absl::StatusOr<std::vector<ArmTraffic>> ReadArmTraffic(const std::string& experiment,
                                                       absl::Duration span,
                                                       const AskPrometheus& ask) {
  const std::string name = experiment.empty() ? "[^/]+" : Quoted(experiment);
  const auto increase = [&](const std::string& series, const std::string& by) {
    return absl::StrFormat("sum by (%s) (increase(skipstone_%s{arm=~\"%s/.+\"}[%ds]))", by, series,
                           name, absl::ToInt64Seconds(span));
  };
  TrafficByArm all;
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<PrometheusSeries> outcomes,
                             ask(increase("requests_total", "arm, outcome")));
  for (const PrometheusSeries& series : outcomes) AddOutcomes(series, all);
  for (const Counted& counted : CountedSeries()) {
    SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<PrometheusSeries> found,
                               ask(increase(counted.series, "arm")));
    for (const PrometheusSeries& series : found) AddSums(series, counted.sums, all);
  }
  std::vector<ArmTraffic> traffic;
  for (auto& [key, one] : all) traffic.push_back(std::move(one));
  return traffic;
}

absl::Status PrometheusSource::Check() const {
  if (span < absl::Seconds(10) || last < span || last > kMostSpans * span) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--span must be at least 10s, and --last between one and %d of it, not %s and %s",
        kMostSpans, absl::FormatDuration(span), absl::FormatDuration(last)));
  }
  return absl::OkStatus();
}

absl::StatusOr<experiment::ExposureReport> ReadReport(const PrometheusSource& source,
                                                      const experiment::ReportOptions& options) {
  const absl::Time now = absl::Now();
  const PrometheusRange range = {now - source.last + source.span, now, source.span};
  SKIPSTONE_ASSIGN_OR_RETURN(
      const std::vector<ArmTraffic> traffic,
      ReadArmTraffic(source.experiment, source.span, [&](const std::string& query) {
        return QueryPrometheus(source.url, query, range);
      }));
  experiment::ReportBuilder builder(options);
  for (const ArmTraffic& one : traffic) builder.Add(one);
  return builder.Finish({});
}

}  // namespace skipstone::client
