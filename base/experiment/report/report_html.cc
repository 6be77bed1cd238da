#include "base/experiment/report/report_html.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/experiment/report/report_text.h"
#include "base/experiment/report/verdict.h"
#include "base/quality/bar_plot.h"
#include "base/quality/html_page.h"
#include "base/quality/html_text.h"
#include "base/quality/interval_plot.h"
#include "base/quality/time_plot.h"
#include "base/table.h"

namespace skipstone::experiment {
namespace {

using quality::HtmlText;

std::string Figure(const std::string& title, const std::string& svg) {
  if (svg.empty()) return "";
  return "<figure><figcaption>" + HtmlText(title) + "</figcaption>\n" + svg + "</figure>\n";
}

std::string List(const std::vector<std::string>& notes) {
  std::string html = "<ul>\n";
  for (const std::string& note : notes) absl::StrAppend(&html, "<li>", HtmlText(note), "</li>\n");
  return html + "</ul>\n";
}

// Where there are several arms beside the control, whose effect it is.
std::string WithArm(const std::string& text, const ExperimentReport& experiment, size_t arm) {
  if (experiment.arms.size() <= 2) return text;
  return absl::StrCat(text, ", ", experiment.arms[arm].name);
}

quality::EffectTone ToneOf(const EffectReport& effect) {
  const int better = ReportMetrics()[effect.metric].better;
  if (!effect.IsClear() || better == 0) return quality::EffectTone::kNeutral;
  return effect.value * better > 0 ? quality::EffectTone::kGood : quality::EffectTone::kBad;
}

// The effects of one arm in one unit.
std::string EffectsFigure(const ExperimentReport& experiment, size_t arm, const std::string& unit,
                          const std::string& title) {
  std::vector<quality::IntervalRow> rows;
  for (const EffectReport& effect : experiment.effects) {
    const ReportMetric& metric = ReportMetrics()[effect.metric];
    if (effect.arm != arm || metric.effect_unit != unit) continue;
    quality::IntervalRow row = {.label = metric.noun,
                                .text = metric.EffectNumber(effect.value),
                                .value = metric.Shown(effect.value),
                                .tone = ToneOf(effect)};
    if (effect.interval) {
      row.low = metric.Shown(effect.interval->low);
      row.high = metric.Shown(effect.interval->high);
      absl::StrAppend(&row.text, " ", metric.IntervalText(*effect.interval));
    }
    rows.push_back(std::move(row));
  }
  const std::string names =
      absl::StrCat(experiment.arms[arm].name, " against ", experiment.arms[0].name);
  return Figure(absl::StrCat(title, ": ", names),
                quality::IntervalPlot(rows, absl::StrCat("change, ", unit)));
}

// The interval of one metric, narrowing from look to look.
std::string LooksFigure(const ExperimentReport& experiment, size_t arm, const std::string& key) {
  const auto index = *MetricByKey(key);
  const ReportMetric& metric = ReportMetrics()[index];
  const double span_ms = static_cast<double>(experiment.last_unix_ms - experiment.first_unix_ms);
  const bool is_days = span_ms > 2 * 86'400e3;
  std::vector<quality::BandPoint> points;
  for (const LookReport& look : experiment.looks) {
    const double x = static_cast<double>(look.time_unix_ms - experiment.first_unix_ms) /
                     (is_days ? 86'400e3 : 3'600e3);
    for (const EffectReport& effect : look.effects) {
      if (effect.arm != arm || effect.metric != index || !effect.interval) continue;
      points.push_back({x, metric.Shown(effect.value), metric.Shown(effect.interval->low),
                        metric.Shown(effect.interval->high)});
    }
  }
  return Figure(WithArm(absl::StrCat("What each look said: ", metric.noun), experiment, arm),
                quality::BandPlot(points, is_days ? "days" : "hours",
                                  absl::StrCat("change, ", metric.effect_unit)));
}

std::string CountsFigure(const ExperimentReport& experiment) {
  const bool is_mixed = experiment.design == Design::kMixed;
  int64_t total = 0;
  for (const ArmReport& arm : experiment.arms) total += arm.units;
  std::vector<quality::Bar> bars;
  for (const ArmReport& arm : experiment.arms) {
    quality::Bar bar = {arm.name, absl::StrCat(arm.units), static_cast<double>(arm.units), {}};
    if (arm.share > 0) bar.expected = arm.share * static_cast<double>(total);
    bars.push_back(std::move(bar));
  }
  return Figure(is_mixed ? "Units by arm" : "Windows by arm",
                quality::BarPlot(bars, "the mark: what the arm's share asks for"));
}

std::string WindowsFigure(const ExperimentReport& experiment) {
  if (!experiment.window_metric) return "";
  const ReportMetric& metric = ReportMetrics()[*experiment.window_metric];
  std::vector<quality::GroupPoint> points;
  const int64_t start = experiment.windows.front().time_unix_ms;
  for (const WindowPoint& window : experiment.windows) {
    points.push_back({static_cast<double>(window.time_unix_ms - start) / 60e3,
                      metric.scale * window.value, window.arm});
  }
  std::vector<std::string> names;
  for (const ArmReport& arm : experiment.arms) names.push_back(arm.name);
  return Figure("The last windows", quality::GroupPlot(points, names, "minutes", metric.title));
}

std::string ValuesTable(const ExperimentReport& experiment) {
  std::string html = "<div class=\"wide\"><table>\n<thead><tr><th rowspan=\"1\">metric</th>";
  for (const ArmReport& arm : experiment.arms) {
    absl::StrAppend(&html, "<th>", HtmlText(arm.name), "</th>");
  }
  html += "</tr></thead>\n<tbody>\n";
  const auto add_row = [&](const char* title, const char* help, auto cell) {
    absl::StrAppend(&html, "<tr><th scope=\"row\" title=\"", HtmlText(help), "\">", HtmlText(title),
                    "</th>");
    for (size_t arm = 0; arm < experiment.arms.size(); ++arm) {
      absl::StrAppend(&html, "<td>", cell(arm), "</td>");
    }
    html += "</tr>\n";
  };
  add_row("requests", "That were in the arm.",
          [&](size_t arm) { return absl::StrCat(experiment.arms[arm].requests); });
  for (const size_t i : Measured(experiment)) {
    const ReportMetric& metric = ReportMetrics()[i];
    add_row(metric.title, metric.help, [&](size_t arm) {
      const auto& value = experiment.arms[arm].values[i];
      std::string text = value ? metric.ValueText(*value) : "-";
      const EffectReport* effect = arm == 0 ? nullptr : experiment.EffectOf(arm, metric.key);
      if (effect == nullptr) return text;
      absl::StrAppend(&text, "<small>", metric.EffectText(effect->value), "</small>");
      if (effect->interval) {
        absl::StrAppend(&text, "<small>", metric.IntervalText(*effect->interval), "</small>");
      }
      return text;
    });
  }
  const auto has_error = [](const ArmReport& arm) { return arm.calibration_error.has_value(); };
  if (std::ranges::any_of(experiment.arms, has_error)) {
    add_row("calibration error %", "Expected, of the likeliest token's probability.",
            [&](size_t arm) {
              const auto& error = experiment.arms[arm].calibration_error;
              return error ? FormatNumber(100 * *error, 2) : std::string("-");
            });
  }
  return html + "</tbody></table></div>\n";
}

std::string WorstTable(const ExperimentReport& experiment) {
  if (experiment.worst.empty()) return "";
  std::string html =
      "<h3>Which requests suffer</h3>\n<div class=\"wide\"><table>\n<thead><tr>"
      "<th rowspan=\"1\">request</th><th>KL nats/token</th><th>tokens</th><th>arm</th>"
      "<th>level</th></tr></thead>\n<tbody>\n";
  for (const WorstRequest& request : experiment.worst) {
    absl::StrAppend(&html, "<tr><th scope=\"row\">", HtmlText(request.request_id));
    if (!request.traceparent.empty()) {
      absl::StrAppend(&html, "<small>", HtmlText(request.traceparent), "</small>");
    }
    absl::StrAppend(&html, "</th><td>", FormatNumber(request.kl_per_token, 4), "</td><td>",
                    request.tokens, "</td><td>", HtmlText(experiment.arms[request.arm].name),
                    "</td><td>", HtmlText(request.level), "</td></tr>\n");
  }
  return html + "</tbody></table></div>\n";
}

std::string Section(const ExperimentReport& experiment) {
  std::string html =
      "<h2>" + HtmlText(experiment.name) + "</h2>\n<p>" + HtmlText(Subtitle(experiment)) + "</p>\n";
  const char* const style = HasSampleRatioMismatch(experiment) ? "verdict alarm" : "verdict";
  for (const std::string& verdict : experiment.verdicts) {
    absl::StrAppend(&html, "<p class=\"", style, "\">", HtmlText(verdict), "</p>\n");
  }
  if (!experiment.arms.empty()) {
    const bool is_switchback = experiment.design == Design::kSwitchback;
    html += "<div class=\"narrow\">\n";
    for (size_t arm = 1; arm < experiment.arms.size(); ++arm) {
      html += EffectsFigure(experiment, arm, "%", is_switchback ? "Cost and latency" : "Cost");
      html += EffectsFigure(experiment, arm, "nats/token", "Divergence");
      html += EffectsFigure(experiment, arm, "points", "Agreement and failures");
      html += LooksFigure(experiment, arm, "attributed_s_per_token");
      html += LooksFigure(experiment, arm, "kl_nats");
    }
    html += WindowsFigure(experiment) + CountsFigure(experiment) + "</div>\n";
    html += ValuesTable(experiment) + WorstTable(experiment);
  }
  return html + "<h3>How to read this</h3>\n" + List(experiment.notes);
}

}  // namespace

std::string ToHtml(const ExposureReport& report) {
  std::string body = "<h1>Experiments on skip levels</h1>\n";
  for (const ExperimentReport& experiment : report.experiments) body += Section(experiment);
  if (report.experiments.empty()) body += "<p class=\"verdict\">No record met an experiment.</p>\n";
  return quality::HtmlPage("Experiments on skip levels",
                           body + "<h2>What was read</h2>\n" + List(CountNotes(report)));
}

}  // namespace skipstone::experiment
