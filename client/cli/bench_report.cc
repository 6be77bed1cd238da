#include "client/cli/bench_report.h"

#include <algorithm>
#include <array>

namespace skipstone::client {
namespace {

using Records = std::vector<const RequestRecord*>;

void CountFailure(const RequestRecord& record, std::map<std::string, Failures>& failures) {
  const std::string code =
      record.status.ok() ? "NO_TOKENS" : absl::StatusCodeToString(record.status.code());
  Failures& entry = failures[code];
  if (entry.count++ == 0) entry.message = std::string(record.status.message());
}

GroupReport MakeGroup(const std::string& name, const Records& records,
                      const GoodputLimits& limits) {
  GroupReport group{.name = name, .requests = records.size()};
  std::vector<float> ttft, itl, tpot, e2e;
  for (const RequestRecord* record : records) {
    if (!record->ok()) {
      CountFailure(*record, group.failures);
      continue;
    }
    ++group.ok;
    group.good += limits.KeptBy(*record);
    group.prompt_tokens += record->prompt_tokens;
    group.output_tokens += record->output_tokens;
    group.kv_pages_used += record->kv_pages_used;
    group.kv_pages_omitted += record->kv_pages_omitted;
    group.browned_out += record->browned_out;
    group.shed += record->shed;
    ttft.push_back(record->TtftMs());
    e2e.push_back(record->E2eMs());
    if (record->output_tokens > 1) tpot.push_back(record->TpotMs());
    itl.insert(itl.end(), record->gaps_ms.begin(), record->gaps_ms.end());
  }
  group.ttft_ms = Summarize(std::move(ttft));
  group.itl_ms = Summarize(std::move(itl));
  group.tpot_ms = Summarize(std::move(tpot));
  group.e2e_ms = Summarize(std::move(e2e));
  return group;
}

}  // namespace

BenchReport MakeReport(const std::vector<RequestRecord>& records, const std::vector<MixPart>& mix,
                       const std::optional<GoodputLimits>& limits) {
  const GoodputLimits kept = limits.value_or(GoodputLimits());
  Records all;
  std::vector<Records> parts(mix.size());
  std::vector<float> lag_ms;
  SteadyTime first = SteadyTime::max();
  SteadyTime last = SteadyTime::min();
  for (const RequestRecord& record : records) {
    all.push_back(&record);
    parts[record.part].push_back(&record);
    lag_ms.push_back(record.LagMs());
    first = std::min(first, record.scheduled);
    last = std::max(last, record.ended);
  }
  BenchReport report;
  report.seconds = std::chrono::duration<double>(last - first).count();
  report.has_limits = limits.has_value();
  report.lag_ms = Summarize(std::move(lag_ms));
  report.all = MakeGroup("all", all, kept);
  for (size_t i = 0; i < mix.size(); ++i) {
    report.parts.push_back(MakeGroup(mix[i].name, parts[i], kept));
  }
  return report;
}

}  // namespace skipstone::client
