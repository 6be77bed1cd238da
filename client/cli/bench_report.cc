#include "client/cli/bench_report.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/table.h"

namespace skipstone::client {
namespace {

using Json = nlohmann::ordered_json;

void CountFailure(const LoadRecord& record, std::map<std::string, Failures>& failures) {
  const std::string code =
      record.status.ok() ? "NO_TOKENS" : absl::StatusCodeToString(record.status.code());
  Failures& entry = failures[code];
  if (entry.count++ == 0) entry.message = std::string(record.status.message());
}

void Count(const LoadRecord& record, const GoodputLimits& limits, LoadGroup& group) {
  group.Add(record, record.ok(), limits);
  if (!record.ok()) return CountFailure(record, group.failures);
  group.kv_pages_used += record.kv_pages_used;
  group.kv_pages_windowed += record.kv_pages_windowed;
  group.kv_pages_omitted += record.kv_pages_omitted;
  for (const Duration gap : record.gaps) group.itl.Add(Seconds(gap));
}

// The parts, then all of them together; a single part is the same as all.
std::vector<const LoadGroup*> Groups(const BenchReport& report) {
  std::vector<const LoadGroup*> groups;
  for (const LoadGroup& part : report.parts) groups.push_back(&part);
  if (groups.size() > 1) groups.push_back(&report.all);
  return groups;
}

void PrintThroughput(const BenchReport& report, std::ostream& out) {
  std::vector<std::string> header = {
      "skip",           "requests",         "failed",   "requests/s", "output tokens/s",
      "total tokens/s", "KV pages/request", "windowed", "omitted"};
  if (report.has_ceiling) header.insert(header.end(), {"browned out", "shed"});
  if (report.has_limits) header.insert(header.end(), {"goodput/s", "good %"});
  Table table(header);
  for (const LoadGroup* group : Groups(report)) {
    const double ok = group->ok;
    std::vector<std::string> row = {
        group->name,
        std::to_string(group->requests),
        std::to_string(group->requests - group->ok),
        FormatNumber(ok / report.seconds, 2),
        FormatNumber(group->output_tokens / report.seconds),
        FormatNumber((group->prompt_tokens + group->output_tokens) / report.seconds),
        FormatNumber(group->kv_pages_used / ok),
        FormatNumber(group->kv_pages_windowed / ok),
        FormatNumber(group->kv_pages_omitted / ok)};
    if (report.has_ceiling) {
      row.push_back(std::to_string(group->browned_out));
      row.push_back(std::to_string(group->shed));
    }
    if (report.has_limits) {
      row.push_back(FormatNumber(group->good / report.seconds, 2));
      row.push_back(FormatNumber(100.0 * group->good / group->requests));
    }
    table.AddRow(std::move(row));
  }
  table.Print(out);
}

void PrintLatencies(const BenchReport& report, std::ostream& out) {
  static constexpr std::pair<const char*, Histogram GroupReport::*> kMetrics[] = {
      {"TTFT", &GroupReport::ttft},
      {"ITL", &GroupReport::itl},
      {"TPOT", &GroupReport::tpot},
      {"E2E", &GroupReport::e2e}};
  Table table({"ms", "skip", "mean", "p50", "p90", "p99", "max"});
  for (const auto& [name, histogram] : kMetrics) {
    for (const LoadGroup* group : Groups(report)) {
      const Histogram& h = group->*histogram;
      std::vector<std::string> row = {name, group->name};
      for (const double s :
           {h.mean(), h.Percentile(50), h.Percentile(90), h.Percentile(99), h.max()}) {
        row.push_back(FormatNumber(1e3 * s, 2));
      }
      table.AddRow(row);
    }
  }
  table.Print(out);
}

Json GroupJson(const LoadGroup& group, const BenchReport& report) {
  Json json = {{"ok", group.ok},
               {"failures", Json::object()},
               {"kv_pages_used", group.kv_pages_used},
               {"kv_pages_windowed", group.kv_pages_windowed},
               {"kv_pages_omitted", group.kv_pages_omitted}};
  for (const auto& [code, entry] : group.failures) {
    json["failures"][code] = {{"count", entry.count}, {"message", entry.message}};
  }
  group.WriteTo(json, report.seconds);
  if (report.has_limits) {
    json["good"] = group.good;
    json["goodput_per_s"] = PerSecond(group.good, report.seconds);
  }
  return json;
}

}  // namespace

BenchReport MakeReport(const std::vector<LoadRecord>& records, const std::vector<MixPart>& mix,
                       const std::optional<GoodputLimits>& limits) {
  const GoodputLimits kept = limits.value_or(GoodputLimits());
  BenchReport report{.has_limits = limits.has_value()};
  report.all.name = "all";
  for (const MixPart& part : mix) report.parts.emplace_back().name = part.name;
  Time first = Time::max();
  Time last = Time::min();
  for (const LoadRecord& record : records) {
    Count(record, kept, report.all);
    Count(record, kept, report.parts[record.part]);
    report.lag.Add(Seconds(record.Lag()));
    first = std::min(first, record.due);
    last = std::max(last, record.ended);
  }
  report.seconds = Seconds(last - first);
  return report;
}

void BenchReport::Print(std::ostream& out) const {
  PrintThroughput(*this, out);
  out << '\n';
  PrintLatencies(*this, out);
  out << absl::StrFormat(
      "\n%.1f s, %s; %s. Requests were started %.2f ms (p99) and at most %.2f ms late.\n", seconds,
      open_loop ? "open loop" : "closed loop",
      open_loop ? "TTFT and E2E count from the scheduled arrival, so a slow server is charged for "
                  "every request that came meanwhile"
                : "TTFT and E2E count from the start of each request, which waits for an earlier "
                  "one to end",
      1e3 * lag.Percentile(99), 1e3 * lag.max());
  if (shortened > 0) {
    out << absl::StrFormat("%d requests were shortened to the model's context.\n", shortened);
  }
  for (const auto& [code, entry] : all.failures) {
    out << absl::StrFormat("%d failed with %s: %s\n", entry.count, code, entry.message);
  }
}

Json BenchReport::ToJson() const {
  Json json = {
      {"loop", open_loop ? "open" : "closed"}, {"seconds", seconds}, {"shortened", shortened}};
  WriteMilliseconds(lag, json["start_lag_ms"]);
  for (const LoadGroup& part : parts) json["levels"][part.name] = GroupJson(part, *this);
  json["all"] = GroupJson(all, *this);
  return json;
}

}  // namespace skipstone::client
