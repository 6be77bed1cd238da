#include "tools/sim/report.h"

#include <algorithm>

#include "engine/kv/sequence_pages.h"

namespace skipstone {
namespace {

double TimePerToken(const RequestRecord& record) {
  return Seconds(record.last_token - record.first_token) / (record.output_tokens - 1);
}

void Count(const RequestRecord& record, bool good, int64_t pages, GroupReport* group) {
  ++group->requests;
  if (record.refused()) {
    ++group->refused;
    return;
  }
  group->good += good ? 1 : 0;
  group->prompt_tokens += record.prompt_tokens;
  group->cached_tokens += record.cached_tokens;
  group->output_tokens += record.output_tokens;
  group->preemptions += record.preemptions;
  group->browned_out += record.browned_out ? 1 : 0;
  group->shed += record.shed ? 1 : 0;
  group->kept_layers += record.kept_layers;
  group->pages += pages;
  group->ttft.Add(Seconds(record.first_token - record.arrival));
  group->e2e.Add(Seconds(record.last_token - record.arrival));
  if (record.output_tokens > 1) group->tpot.Add(TimePerToken(record));
}

}  // namespace

bool GoodputLimits::KeptBy(const RequestRecord& record) const {
  if (record.refused()) return false;
  if (record.output_tokens > 1 && TimePerToken(record) > tpot_s) return false;
  return Seconds(record.first_token - record.arrival) <= ttft_s &&
         Seconds(record.longest_gap) <= itl_s &&
         Seconds(record.last_token - record.arrival) <= e2e_s;
}

double GroupReport::HitRate() const {
  return static_cast<double>(cached_tokens) /
         static_cast<double>(std::max<int64_t>(1, prompt_tokens));
}

SimReport MakeReport(const SimResult& result, const FleetOptions& fleet,
                     const std::vector<Level>& levels, const GoodputLimits& limits) {
  SimReport report{.replicas = fleet.replicas,
                   .seconds = result.seconds,
                   .total_pages = result.total_pages,
                   .pages = result.pages,
                   .waiting = result.waiting};
  report.all.name = "all";
  for (const Level& level : levels) report.levels.push_back({.name = level.name});
  for (const RequestRecord& record : result.requests) {
    const int64_t stored = int64_t{record.prompt_tokens} + record.output_tokens - 1;
    const int64_t pages =
        int64_t{record.kept_layers} * BlocksFor(stored, fleet.scheduler.page_tokens);
    const bool good = limits.KeptBy(record);
    Count(record, good, pages, &report.levels[record.level]);
    Count(record, good, pages, &report.all);
  }
  for (size_t i = 0; i < levels.size(); ++i) {
    report.levels[i].itl = result.gaps[i];
    report.all.itl.Merge(result.gaps[i]);
  }
  if (result.seconds > 0) {
    report.busy_fraction = result.busy_seconds / result.seconds / fleet.replicas;
  }
  if (result.steps > 0) {
    report.rows_per_step = static_cast<double>(result.rows) / static_cast<double>(result.steps);
  }
  return report;
}

}  // namespace skipstone
