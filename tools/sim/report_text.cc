// The forms of a SimReport: tables for people, JSON for machines, plots.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "tools/sim/plot.h"
#include "tools/sim/report.h"

namespace skipstone {
namespace {

using Json = nlohmann::ordered_json;

constexpr struct {
  const char* name;
  const char* key;
  Histogram GroupReport::*histogram;
} kLatencies[] = {{"TTFT", "ttft_ms", &GroupReport::ttft},
                  {"ITL", "itl_ms", &GroupReport::itl},
                  {"TPOT", "tpot_ms", &GroupReport::tpot},
                  {"E2E", "e2e_ms", &GroupReport::e2e}};

// The levels, then all of them together; a single level is the same as all.
std::vector<const GroupReport*> Groups(const SimReport& report) {
  std::vector<const GroupReport*> groups;
  for (const GroupReport& level : report.levels) groups.push_back(&level);
  if (groups.size() > 1) groups.push_back(&report.all);
  return groups;
}

int NameWidth(const SimReport& report) {
  size_t width = 5;
  for (const GroupReport* group : Groups(report)) width = std::max(width, group->name.size());
  return static_cast<int>(width);
}

double Rate(int64_t count, const SimReport& report) {
  return report.seconds > 0 ? static_cast<double>(count) / report.seconds : 0;
}

double PerRequest(int64_t count, const GroupReport& group) {
  return static_cast<double>(count) /
         static_cast<double>(std::max<int64_t>(1, group.requests - group.refused));
}

double Percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

Json LatencyJson(const Histogram& histogram) {
  if (histogram.count() == 0) return {{"count", 0}};
  return {{"count", histogram.count()},
          {"mean", 1e3 * histogram.mean()},
          {"p50", 1e3 * histogram.Percentile(50)},
          {"p90", 1e3 * histogram.Percentile(90)},
          {"p99", 1e3 * histogram.Percentile(99)},
          {"max", 1e3 * histogram.max()}};
}

Json GroupJson(const GroupReport& group, const SimReport& report) {
  Json json = {{"requests", group.requests},
               {"refused", group.refused},
               {"prompt_tokens", group.prompt_tokens},
               {"cached_prompt_tokens", group.cached_tokens},
               {"prefix_hit_rate", group.HitRate()},
               {"output_tokens", group.output_tokens},
               {"requests_per_s", Rate(group.requests - group.refused, report)},
               {"output_tokens_per_s", Rate(group.output_tokens, report)},
               {"total_tokens_per_s", Rate(group.prompt_tokens + group.output_tokens, report)},
               {"good", group.good},
               {"goodput_per_s", Rate(group.good, report)},
               {"kv_pages_per_request", PerRequest(group.pages, group)},
               {"kept_attention_per_request", PerRequest(group.kept_layers, group)},
               {"preemptions", group.preemptions},
               {"browned_out", group.browned_out},
               {"shed", group.shed}};
  for (const auto& latency : kLatencies) json[latency.key] = LatencyJson(group.*latency.histogram);
  return json;
}

Plot CdfPlot(const char* title, const SimReport& report, Histogram GroupReport::*histogram) {
  Plot plot{.title = title, .x_label = "milliseconds", .y_label = "% of all", .log_x = true};
  for (const GroupReport& level : report.levels) {
    PlotLine line{.name = level.name};
    for (const auto& [seconds, fraction] : (level.*histogram).Cumulative()) {
      line.points.emplace_back(1e3 * seconds, 100 * fraction);
    }
    plot.lines.push_back(std::move(line));
  }
  return plot;
}

Plot TimePlot(const char* title, const char* y_label, const TimeSeries& series, double scale) {
  Plot plot{.title = title, .x_label = "seconds", .y_label = y_label};
  plot.lines.push_back({.points = series.Points()});
  for (auto& [seconds, value] : plot.lines[0].points) value *= scale;
  return plot;
}

}  // namespace

std::string ToTable(const SimReport& report) {
  const int width = NameWidth(report);
  std::string text = absl::StrFormat(
      "%d replicas, %.1f s: busy %.1f %%, %.1f rows/step, K/V pages %.1f %% mean, %.1f %% max of "
      "%d, "
      "waiting %.1f mean, %.0f max\n\n",
      report.replicas, report.seconds, 100 * report.busy_fraction, report.rows_per_step,
      Percent(report.pages.mean(), report.total_pages),
      Percent(report.pages.max(), report.total_pages), report.total_pages, report.waiting.mean(),
      report.waiting.max());
  absl::StrAppendFormat(&text, "%-*s %9s %8s %10s %12s %12s %10s %7s %10s %11s %6s %6s %9s %6s\n",
                        width, "skip", "requests", "refused", "requests/s", "output tok/s",
                        "total tok/s", "goodput/s", "good %", "pages/req.", "preemptions", "hit %",
                        "kept", "brown-out", "shed");
  for (const GroupReport* group : Groups(report)) {
    absl::StrAppendFormat(
        &text, "%-*s %9d %8d %10.2f %12.1f %12.1f %10.2f %7.2f %10.1f %11d %6.1f %6.2f %9d %6d\n",
        width, group->name, group->requests, group->refused,
        Rate(group->requests - group->refused, report), Rate(group->output_tokens, report),
        Rate(group->prompt_tokens + group->output_tokens, report), Rate(group->good, report),
        Percent(group->good, group->requests), PerRequest(group->pages, *group), group->preemptions,
        100 * group->HitRate(), PerRequest(group->kept_layers, *group), group->browned_out,
        group->shed);
  }
  absl::StrAppendFormat(&text, "\n%-4s %-*s %10s %10s %10s %10s %10s\n", "ms", width, "skip",
                        "mean", "p50", "p90", "p99", "max");
  for (const auto& latency : kLatencies) {
    for (const GroupReport* group : Groups(report)) {
      const Histogram& h = group->*latency.histogram;
      absl::StrAppendFormat(&text, "%-4s %-*s %10.2f %10.2f %10.2f %10.2f %10.2f\n", latency.name,
                            width, group->name, 1e3 * h.mean(), 1e3 * h.Percentile(50),
                            1e3 * h.Percentile(90), 1e3 * h.Percentile(99), 1e3 * h.max());
    }
  }
  return text;
}

std::string ToJson(const SimReport& report) {
  Json json = {
      {"replicas", report.replicas},
      {"seconds", report.seconds},
      {"busy_fraction", report.busy_fraction},
      {"rows_per_step", report.rows_per_step},
      {"kv_pages",
       {{"total", report.total_pages}, {"mean", report.pages.mean()}, {"max", report.pages.max()}}},
      {"waiting", {{"mean", report.waiting.mean()}, {"max", report.waiting.max()}}}};
  for (const GroupReport& level : report.levels) {
    json["levels"][level.name] = GroupJson(level, report);
  }
  json["all"] = GroupJson(report.all, report);
  return json.dump(2) + "\n";
}

std::string ToSvg(const SimReport& report) {
  const double percent =
      report.total_pages > 0 ? 100.0 / static_cast<double>(report.total_pages) : 0;
  return PlotsToSvg({CdfPlot("Time to first token", report, &GroupReport::ttft),
                     CdfPlot("Gap between tokens", report, &GroupReport::itl),
                     TimePlot("K/V pages in use", "% of all", report.pages, percent),
                     TimePlot("Requests waiting", "requests", report.waiting, 1)});
}

}  // namespace skipstone
