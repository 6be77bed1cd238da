#include "base/experiment/report/report_text.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/table.h"

namespace skipstone::experiment {
namespace {

using Json = nlohmann::ordered_json;

void PrintArms(const ExperimentReport& experiment, std::ostream& out) {
  const bool is_mixed = experiment.design == Design::kMixed;
  Table table({"arm", "requests", is_mixed ? "units" : "windows", "share %", "outcomes"});
  for (const ArmReport& arm : experiment.arms) {
    std::string outcomes;
    for (const auto& [outcome, count] : arm.outcomes) {
      absl::StrAppend(&outcomes, outcomes.empty() ? "" : ", ", outcome, " ", count);
    }
    table.AddRow({arm.name, absl::StrCat(arm.requests), absl::StrCat(arm.units),
                  arm.share > 0 ? FormatNumber(100 * arm.share) : "-", outcomes});
  }
  table.Print(out << "\nArms\n");
  if (!experiment.sample_ratio_p) return;
  out << absl::StrFormat("sample ratio: p %.3g\n", *experiment.sample_ratio_p);
}

// No one needs the digits of a p-value that is as good as 0.
std::string PText(double p) { return p < 1e-4 ? "<0.0001" : absl::StrFormat("%.2g", p); }

void PrintMetrics(const ExperimentReport& experiment, std::ostream& out) {
  const std::vector<size_t> metrics = Measured(experiment);
  if (metrics.empty()) return;
  Table table({"metric", "arm", "value", "effect", "interval", "p"});
  for (const size_t metric : metrics) {
    const ReportMetric& shown = ReportMetrics()[metric];
    for (size_t arm = 0; arm < experiment.arms.size(); ++arm) {
      const auto& value = experiment.arms[arm].values[metric];
      const EffectReport* effect = arm == 0 ? nullptr : experiment.EffectOf(arm, shown.key);
      std::vector<std::string> cells = {shown.title, experiment.arms[arm].name,
                                        value ? shown.ValueText(*value) : "-"};
      cells.push_back(effect != nullptr ? shown.EffectText(effect->value) : "");
      cells.push_back(effect != nullptr && effect->interval ? shown.IntervalText(*effect->interval)
                                                            : "");
      cells.push_back(effect != nullptr && effect->p_value ? PText(*effect->p_value) : "");
      table.AddRow(cells);
    }
  }
  for (const ArmReport& arm : experiment.arms) {
    if (!arm.calibration_error) continue;
    table.AddRow({"calibration error %", arm.name, FormatNumber(100 * *arm.calibration_error, 2)});
  }
  table.Print(out << "\nMetrics, effects against " << EscapeControls(experiment.arms[0].name)
                  << '\n');
}

void PrintWorst(const ExperimentReport& experiment, std::ostream& out) {
  if (experiment.worst.empty()) return;
  Table table({"KL nats/token", "tokens", "arm", "level", "request", "traceparent"});
  for (const WorstRequest& request : experiment.worst) {
    table.AddRow({FormatNumber(request.kl_per_token, 4), absl::StrCat(request.tokens),
                  experiment.arms[request.arm].name, request.level, request.request_id,
                  request.traceparent.empty() ? "-" : request.traceparent});
  }
  table.Print(out << "\nWhich requests suffer\n");
}

Json Number(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? Json(*value) : Json();
}

Json EffectsJson(const ExperimentReport& experiment, const std::vector<EffectReport>& effects) {
  Json list = Json::array();
  for (const EffectReport& effect : effects) {
    const ReportMetric& metric = ReportMetrics()[effect.metric];
    Json json = {{"arm", experiment.arms[effect.arm].name},
                 {"metric", metric.key},
                 {"is_relative", metric.is_relative},
                 {"value", Number(effect.value)},
                 {"interval", Json()},
                 {"p_value", Number(effect.p_value)}};
    if (effect.interval) {
      json["interval"] = {Number(effect.interval->low), Number(effect.interval->high)};
    }
    list.push_back(std::move(json));
  }
  return list;
}

Json ArmsJson(const ExperimentReport& experiment) {
  Json list = Json::array();
  for (const ArmReport& arm : experiment.arms) {
    Json values = Json::object();
    for (size_t i = 0; i < kReportMetrics; ++i) {
      values[ReportMetrics()[i].key] = Number(arm.values[i]);
    }
    list.push_back({{"name", arm.name},
                    {"share", Number(arm.share)},
                    {"requests", arm.requests},
                    {experiment.design == Design::kMixed ? "units" : "windows", arm.units},
                    {"outcomes", arm.outcomes},
                    {"values", std::move(values)},
                    {"calibration_error", Number(arm.calibration_error)}});
  }
  return list;
}

Json WorstJson(const ExperimentReport& experiment) {
  Json list = Json::array();
  for (const WorstRequest& request : experiment.worst) {
    list.push_back(
        {{"request_id", request.request_id},
         {"traceparent", request.traceparent.empty() ? Json() : Json(request.traceparent)},
         {"arm", experiment.arms[request.arm].name},
         {"level", request.level},
         {"kl_nats_per_token", Number(request.kl_per_token)},
         {"tokens", request.tokens}});
  }
  return list;
}

Json ExperimentJson(const ExperimentReport& experiment) {
  Json json = {{"name", experiment.name},
               {"layer", experiment.layer},
               {"design", NameOf(experiment.design)},
               {"generation", absl::StrFormat("%016x", experiment.generation.value)},
               {"generations", experiment.generations},
               {"first_unix_ms", experiment.first_unix_ms},
               {"last_unix_ms", experiment.last_unix_ms},
               {"verdicts", experiment.verdicts},
               {"notes", experiment.notes},
               {"sample_ratio_p", Number(experiment.sample_ratio_p)},
               {"arms", ArmsJson(experiment)},
               {"effects", EffectsJson(experiment, experiment.effects)},
               {"worst_requests", WorstJson(experiment)},
               {"unassigned", experiment.unassigned},
               {"enlarged", experiment.enlarged},
               {"without_unit", experiment.without_unit},
               {"crossed_units", experiment.crossed_units},
               {"in_washout", experiment.in_washout},
               {"ran_on", experiment.ran_on},
               {"contradictory", experiment.contradictory},
               {"other_arms", experiment.other_arms}};
  if (experiment.design == Design::kSwitchback) {
    json["window_s"] = Number(experiment.window_seconds);
    json["carry_over"] = experiment.carry_over;
  }
  Json looks = Json::array();
  for (const LookReport& look : experiment.looks) {
    looks.push_back({{"time_unix_ms", look.time_unix_ms},
                     {"units", look.units},
                     {"effects", EffectsJson(experiment, look.effects)}});
  }
  json["looks"] = std::move(looks);
  return json;
}

// Bytes that are no UTF-8 become U+FFFD.
std::string Dump(const Json& json, int indent) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
}

Json ReportJson(const ExposureReport& report) {
  Json json = {{"alpha", report.options.alpha},
               {"records", report.counts.records},
               {"refused_lines", report.counts.refused},
               {"errors", report.counts.errors},
               {"outside", report.outside},
               {"dropped", report.dropped},
               {"experiments", Json::array()}};
  for (const ExperimentReport& experiment : report.experiments) {
    json["experiments"].push_back(ExperimentJson(experiment));
  }
  return json;
}

}  // namespace

std::string TimeText(int64_t unix_ms) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixMillis(unix_ms), absl::UTCTimeZone());
}

std::vector<std::string> CountNotes(const ExposureReport& report) {
  std::vector<std::string> notes;
  const auto of_metrics = [](const ExperimentReport& each) { return each.of_metrics; };
  if (std::ranges::none_of(report.experiments, of_metrics)) {
    notes.push_back(absl::StrFormat("%d records.", report.counts.records));
  }
  const auto add = [&](int64_t count, const char* what) {
    if (count > 0) notes.push_back(absl::StrFormat("%d %s", count, what));
  };
  add(report.outside, "of them outside of all experiments.");
  add(report.dropped, "exposure(s) to experiments beyond the most that are kept apart.");
  add(report.counts.refused, "line(s) torn or no records, the first of them:");
  notes.insert(notes.end(), report.counts.errors.begin(), report.counts.errors.end());
  return notes;
}

std::string Subtitle(const ExperimentReport& experiment) {
  if (experiment.of_metrics) {
    return absl::StrFormat("from metrics, %s to %s UTC", TimeText(experiment.first_unix_ms),
                           TimeText(experiment.last_unix_ms));
  }
  return absl::StrFormat("%s, configuration %016x, %s to %s UTC", NameOf(experiment.design),
                         experiment.generation.value, TimeText(experiment.first_unix_ms),
                         TimeText(experiment.last_unix_ms));
}

std::vector<size_t> Measured(const ExperimentReport& experiment) {
  std::vector<size_t> metrics;
  for (size_t i = 0; i < kReportMetrics; ++i) {
    const auto has = [&](const ArmReport& arm) { return arm.values[i].has_value(); };
    if (std::ranges::any_of(experiment.arms, has)) metrics.push_back(i);
  }
  return metrics;
}

std::string ToTable(const ExposureReport& report) {
  std::ostringstream out;
  for (const std::string& note : CountNotes(report)) out << EscapeControls(note) << '\n';
  for (const ExperimentReport& experiment : report.experiments) {
    out << '\n' << EscapeControls(experiment.name) << " (" << Subtitle(experiment) << ")\n";
    for (const std::string& verdict : experiment.verdicts) out << EscapeControls(verdict) << '\n';
    if (!experiment.arms.empty()) {
      PrintArms(experiment, out);
      PrintMetrics(experiment, out);
      PrintWorst(experiment, out);
    }
    out << '\n';
    for (const std::string& note : experiment.notes) out << EscapeControls(note) << '\n';
  }
  return out.str();
}

std::string ToVerdictLines(const ExposureReport& report, const std::string& prefix) {
  std::string lines;
  for (const ExperimentReport& experiment : report.experiments) {
    std::string name = experiment.name;
    if (experiment.generations > 1) {
      absl::StrAppendFormat(&name, " (%016x)", experiment.generation.value);
    }
    for (const std::string& verdict : experiment.verdicts) {
      absl::StrAppend(&lines, prefix, EscapeControls(name + ": " + verdict), "\n");
    }
  }
  return lines;
}

std::string ToJson(const ExposureReport& report) { return Dump(ReportJson(report), 2); }

std::string ToJsonLine(const ExposureReport& report) { return Dump(ReportJson(report), -1); }

}  // namespace skipstone::experiment
