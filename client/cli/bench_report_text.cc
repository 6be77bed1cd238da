// The two forms of a BenchReport: tables for people, JSON for machines.
#include "absl/strings/str_format.h"
#include "client/cli/bench_report.h"
#include "client/cli/table.h"

namespace skipstone::client {
namespace {

using Json = nlohmann::ordered_json;

// The parts, then all of them together; a single part is the same as all.
std::vector<const GroupReport*> Groups(const BenchReport& report) {
  std::vector<const GroupReport*> groups;
  for (const GroupReport& part : report.parts) groups.push_back(&part);
  if (groups.size() > 1) groups.push_back(&report.all);
  return groups;
}

void PrintThroughput(const BenchReport& report, std::ostream& out) {
  std::vector<std::string> header = {
      "skip",           "requests",         "failed", "requests/s", "output tokens/s",
      "total tokens/s", "KV pages/request", "omitted"};
  if (report.has_ceiling) header.insert(header.end(), {"browned out", "shed"});
  if (report.has_limits) header.insert(header.end(), {"goodput/s", "good %"});
  Table table(header);
  for (const GroupReport* group : Groups(report)) {
    const double ok = group->ok;
    std::vector<std::string> row = {
        group->name,
        std::to_string(group->requests),
        std::to_string(group->requests - group->ok),
        FormatNumber(ok / report.seconds, 2),
        FormatNumber(group->output_tokens / report.seconds),
        FormatNumber((group->prompt_tokens + group->output_tokens) / report.seconds),
        FormatNumber(group->kv_pages_used / ok),
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
  static constexpr struct {
    const char* name;
    Summary GroupReport::*summary;
  } kMetrics[] = {{"TTFT", &GroupReport::ttft_ms},
                  {"ITL", &GroupReport::itl_ms},
                  {"TPOT", &GroupReport::tpot_ms},
                  {"E2E", &GroupReport::e2e_ms}};
  Table table({"ms", "skip", "mean", "p50", "p90", "p99", "max"});
  for (const auto& metric : kMetrics) {
    for (const GroupReport* group : Groups(report)) {
      const Summary& s = group->*metric.summary;
      table.AddRow({metric.name, group->name, FormatNumber(s.mean, 2), FormatNumber(s.p50, 2),
                    FormatNumber(s.p90, 2), FormatNumber(s.p99, 2), FormatNumber(s.max, 2)});
    }
  }
  table.Print(out);
}

Json SummaryJson(const Summary& s) {
  return {{"count", s.count}, {"mean", s.mean}, {"p50", s.p50},
          {"p90", s.p90},     {"p99", s.p99},   {"max", s.max}};
}

Json GroupJson(const GroupReport& group, const BenchReport& report) {
  Json failures = Json::object();
  for (const auto& [code, entry] : group.failures) {
    failures[code] = {{"count", entry.count}, {"message", entry.message}};
  }
  Json json = {{"requests", group.requests},
               {"ok", group.ok},
               {"failures", failures},
               {"prompt_tokens", group.prompt_tokens},
               {"output_tokens", group.output_tokens},
               {"requests_per_s", group.ok / report.seconds},
               {"output_tokens_per_s", group.output_tokens / report.seconds},
               {"total_tokens_per_s", (group.prompt_tokens + group.output_tokens) / report.seconds},
               {"kv_pages_used", group.kv_pages_used},
               {"kv_pages_omitted", group.kv_pages_omitted},
               {"browned_out", group.browned_out},
               {"shed", group.shed},
               {"ttft_ms", SummaryJson(group.ttft_ms)},
               {"itl_ms", SummaryJson(group.itl_ms)},
               {"tpot_ms", SummaryJson(group.tpot_ms)},
               {"e2e_ms", SummaryJson(group.e2e_ms)}};
  if (report.has_limits) {
    json["good"] = group.good;
    json["goodput_per_s"] = group.good / report.seconds;
  }
  return json;
}

}  // namespace

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
      lag_ms.p99, lag_ms.max);
  if (shortened > 0) {
    out << absl::StrFormat("%d requests were shortened to the model's context.\n", shortened);
  }
  for (const auto& [code, entry] : all.failures) {
    out << absl::StrFormat("%d failed with %s: %s\n", entry.count, code, entry.message);
  }
}

Json BenchReport::ToJson() const {
  Json levels = Json::object();
  for (const GroupReport& part : parts) levels[part.name] = GroupJson(part, *this);
  return {{"loop", open_loop ? "open" : "closed"},
          {"seconds", seconds},
          {"shortened", shortened},
          {"start_lag_ms", SummaryJson(lag_ms)},
          {"levels", levels},
          {"all", GroupJson(all, *this)}};
}

}  // namespace skipstone::client
