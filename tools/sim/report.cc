#include "tools/sim/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace skipstone {
namespace {

using Json = nlohmann::ordered_json;

void Count(const SimRecord& record, const GoodputLimits& limits, SimGroup& group) {
  group.Add(record, !record.refused(), limits);
  if (record.refused()) return;
  group.cached_tokens += record.cached_tokens;
  group.preemptions += record.preemptions;
  group.kept_layers += record.kept_layers;
  group.windowed_layers += record.windowed_layers;
  group.pages += record.pages;
}

double Ratio(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(std::max<int64_t>(1, whole));
}

Json GroupJson(const SimGroup& group, double seconds) {
  Json json = {{"refused", group.requests - group.ok},
               {"cached_prompt_tokens", group.cached_tokens},
               {"prefix_hit_rate", group.HitRate()},
               {"good", group.good},
               {"goodput_per_s", PerSecond(group.good, seconds)},
               {"kv_pages_per_request", Ratio(group.pages, group.ok)},
               {"kept_attention_per_request", Ratio(group.kept_layers, group.ok)},
               {"windowed_attention_per_request", Ratio(group.windowed_layers, group.ok)},
               {"preemptions", group.preemptions}};
  group.WriteTo(json, seconds);
  return json;
}

Json SeriesJson(const TimeSeries& series) {
  return {{"mean", series.mean()}, {"max", series.max()}, {"points", series.Points()}};
}

}  // namespace

double SimGroup::HitRate() const { return Ratio(cached_tokens, prompt_tokens); }

SimReport MakeReport(const SimResult& result, const FleetOptions& fleet,
                     const std::vector<MixPart>& mix, const GoodputLimits& limits) {
  SimReport report{.replicas = fleet.replicas,
                   .seconds = result.seconds,
                   .total_pages = result.total_pages,
                   .pages = result.pages,
                   .waiting = result.waiting,
                   .serving = result.serving,
                   .shed = result.shed};
  report.all.name = "all";
  for (const MixPart& part : mix) report.levels.emplace_back().name = part.name;
  for (const SimRecord& record : result.requests) {
    Count(record, limits, report.levels[record.part]);
    Count(record, limits, report.all);
  }
  for (size_t i = 0; i < mix.size(); ++i) {
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

std::string ToJson(const SimReport& report) {
  Json json = {{"replicas", report.replicas},           {"seconds", report.seconds},
               {"busy_fraction", report.busy_fraction}, {"rows_per_step", report.rows_per_step},
               {"kv_pages", SeriesJson(report.pages)},  {"waiting", SeriesJson(report.waiting)}};
  json["kv_pages"]["total"] = report.total_pages;
  if (report.serving.max() > 0) {
    json["serving"] = SeriesJson(report.serving);
    json["shed_level"] = SeriesJson(report.shed);
  }
  for (const SimGroup& level : report.levels) {
    Json& group = json["levels"][level.name] = GroupJson(level, report.seconds);
    // (milliseconds, fraction of the values that are not above)
    group["ttft_ms"]["cumulative"] = level.ttft.Cumulative(1e3);
    group["itl_ms"]["cumulative"] = level.itl.Cumulative(1e3);
  }
  json["all"] = GroupJson(report.all, report.seconds);
  return json.dump() + "\n";
}

}  // namespace skipstone
