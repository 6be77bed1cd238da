#include "base/quality/level_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/quality/html_page.h"
#include "base/quality/html_text.h"
#include "base/quality/level_measure.h"
#include "base/quality/pareto_plot.h"
#include "base/table.h"

namespace skipstone::quality {
namespace {

using Kind = LevelMeasure::Kind;
using Json = nlohmann::ordered_json;

// What some row has.
std::vector<const LevelMeasure*> Measured(const LevelReport& report, Kind kind) {
  std::vector<const LevelMeasure*> measures;
  for (const LevelMeasure& measure : LevelMeasures()) {
    const auto has = [&](const LevelRow& row) { return measure.ValueIn(row).has_value(); };
    if (measure.kind == kind && std::any_of(report.rows.begin(), report.rows.end(), has)) {
      measures.push_back(&measure);
    }
  }
  return measures;
}

void PrintSkips(const LevelReport& report, std::ostream& out) {
  Table table({"level", "skip", "compensation"});
  for (const LevelRow& row : report.rows) {
    table.AddRow({row.name, row.skip, row.compensation.empty() ? "-" : row.compensation});
  }
  table.Print(out << "\nLevels\n");
}

void PrintMeasures(const LevelReport& report, Kind kind, std::ostream& out) {
  const std::vector<const LevelMeasure*> measures = Measured(report, kind);
  if (measures.empty()) return;
  std::vector<std::string> header = {"level"};
  for (const LevelMeasure* measure : measures) header.push_back(measure->title);
  Table table(header);
  for (const LevelRow& row : report.rows) {
    std::vector<std::string> cells = {row.name};
    for (const LevelMeasure* measure : measures) {
      const std::string interval = measure->IntervalText(row);
      cells.push_back(measure->Text(measure->ValueIn(row)) +
                      (interval.empty() ? "" : " " + interval));
    }
    table.AddRow(cells);
  }
  table.Print(out << '\n' << NameOf(kind) << '\n');
}

constexpr Kind kKinds[] = {Kind::kText, Kind::kTasks, Kind::kGeneration, Kind::kCost};

std::string HtmlHeader(const LevelReport& report) {
  std::string kinds = "<th rowspan=\"2\">level</th>";
  std::string titles;
  for (const Kind kind : kKinds) {
    const auto measures = Measured(report, kind);
    if (measures.empty()) continue;
    absl::StrAppendFormat(&kinds, "<th class=\"kind\" colspan=\"%d\">%s</th>", measures.size(),
                          NameOf(kind));
    for (const LevelMeasure* measure : measures) {
      absl::StrAppendFormat(&titles, "<th class=\"%s\" title=\"%s\">%s</th>",
                            measure == measures.front() ? "kind" : "", HtmlText(measure->help),
                            HtmlText(measure->title));
    }
  }
  return "<thead><tr>" + kinds + "</tr><tr>" + titles + "</tr></thead>\n";
}

std::string HtmlRow(const LevelReport& report, const LevelRow& row) {
  std::string html = "<tr><th scope=\"row\">" + HtmlText(row.name);
  if (row.name != row.skip) absl::StrAppend(&html, "<small>", HtmlText(row.skip), "</small>");
  if (!row.compensation.empty()) {
    absl::StrAppend(&html, "<small>", HtmlText(row.compensation), "</small>");
  }
  html += "</th>";
  for (const Kind kind : kKinds) {
    const auto measures = Measured(report, kind);
    for (const LevelMeasure* measure : measures) {
      absl::StrAppendFormat(&html, "<td class=\"%s\">%s", measure == measures.front() ? "kind" : "",
                            measure->Text(measure->ValueIn(row)));
      const std::string interval = measure->IntervalText(row);
      if (!interval.empty()) absl::StrAppend(&html, "<small>", interval, "</small>");
      html += "</td>";
    }
  }
  return html + "</tr>\n";
}

const LevelMeasure& MeasureOf(std::string_view key) {
  const auto measures = LevelMeasures();
  return *std::find_if(measures.begin(), measures.end(),
                       [&](const LevelMeasure& measure) { return measure.key == key; });
}

std::string PlotOf(const LevelReport& report, const LevelMeasure& quality,
                   const LevelMeasure& cost) {
  std::vector<PlotPoint> points;
  for (const LevelRow& row : report.rows) {
    const auto x = cost.ValueIn(row);
    const auto y = quality.IntervalIn(row);
    if (!x || !y) continue;
    points.push_back({row.name, cost.scale * *x, quality.scale * y->value, quality.scale * y->low,
                      quality.scale * y->high});
  }
  const std::string svg =
      ParetoPlot(points, cost.title, quality.title, quality.key == std::string("perplexity"));
  return svg.empty() ? "" : "<figure>\n" + svg + "</figure>\n";
}

// What pictures show: what tells most of a level, its intervals the narrowest, since in pairs.
const LevelMeasure& PlottedQuality(const LevelReport& report) {
  const auto measured = Measured(report, Kind::kText);
  for (const char* key : {"kl", "nll_change"}) {
    const LevelMeasure& measure = MeasureOf(key);
    if (std::count(measured.begin(), measured.end(), &measure) > 0) return measure;
  }
  return MeasureOf("perplexity");
}

std::string Plots(const LevelReport& report) {
  std::string plots;
  for (const char* cost : {"decode_ms", "prefill_ms", "pages"}) {
    plots += PlotOf(report, PlottedQuality(report), MeasureOf(cost));
  }
  if (plots.empty()) return "";
  return "<p>Less is better in both directions. Filled: no other level is better in both; the line "
         "is what one can have. Bars: 95 % intervals.</p>\n<div class=\"plots\">\n" +
         plots + "</div>\n";
}

Json JsonOf(const LevelMeasure& measure, const LevelRow& row) {
  if (const auto interval = measure.IntervalIn(row)) {
    return {{"value", interval->value}, {"low", interval->low}, {"high", interval->high}};
  }
  const std::optional<double> value = measure.ValueIn(row);
  return value ? Json(*value) : Json();
}

}  // namespace

std::string ToTable(const LevelReport& report) {
  std::ostringstream out;
  out << EscapeControls(report.title) << '\n' << EscapeControls("model " + report.model) << '\n';
  const bool names_differ = std::any_of(
      report.rows.begin(), report.rows.end(),
      [](const LevelRow& row) { return row.name != row.skip || !row.compensation.empty(); });
  if (names_differ) PrintSkips(report, out);
  for (const Kind kind : kKinds) PrintMeasures(report, kind, out);
  if (!report.notes.empty()) out << '\n';
  for (const std::string& note : report.notes) out << EscapeControls(note) << '\n';
  return out.str();
}

std::string ToJson(const LevelReport& report) {
  Json json = {{"title", report.title}, {"model", report.model}, {"notes", report.notes}};
  Json& rows = json["rows"] = Json::array();
  for (const LevelRow& row : report.rows) {
    Json item = {{"name", row.name}, {"skip", row.skip}, {"compensation", row.compensation}};
    for (const LevelMeasure& measure : LevelMeasures()) item[measure.key] = JsonOf(measure, row);
    rows.push_back(std::move(item));
  }
  return json.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + '\n';
}

std::string ToHtml(const LevelReport& report) {
  std::string body = absl::StrFormat("<h1>%s</h1>\n<p>Model: %s</p>\n", HtmlText(report.title),
                                     HtmlText(report.model));
  absl::StrAppend(&body, Plots(report), "<div class=\"wide\"><table>\n", HtmlHeader(report),
                  "<tbody>\n");
  for (const LevelRow& row : report.rows) body += HtmlRow(report, row);
  body += "</tbody></table></div>\n<ul>\n";
  for (const std::string& note : report.notes) {
    absl::StrAppend(&body, "<li>", HtmlText(note), "</li>\n");
  }
  return HtmlPage(report.title, body + "</ul>\n");
}

}  // namespace skipstone::quality
