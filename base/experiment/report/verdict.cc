#include "base/experiment/report/verdict.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace skipstone::experiment {
namespace {

// Of requests, that ended after their window: above it what is left out may differ by arm.
constexpr double kMuchRanOn = 0.05;

// "9.8 % [7.1, 12.6] less attributed time per token".
std::string ClearChange(const EffectReport& effect) {
  const ReportMetric& metric = ReportMetrics()[effect.metric];
  const int decimals = metric.is_relative ? 1 : metric.decimals;
  const double a = std::abs(metric.Shown(effect.interval->low));
  const double b = std::abs(metric.Shown(effect.interval->high));
  return absl::StrFormat(
      "%.*f%s%s [%.*f, %.*f] %s %s", decimals, std::abs(metric.Shown(effect.value)),
      *metric.effect_unit == '\0' ? "" : " ", metric.effect_unit, decimals, std::min(a, b),
      decimals, std::max(a, b), effect.value < 0 ? "less" : "more", metric.noun);
}

std::string Change(const EffectReport& effect) {
  if (effect.IsClear()) return ClearChange(effect);
  const ReportMetric& metric = ReportMetrics()[effect.metric];
  const std::string value = metric.EffectText(effect.value);
  if (!effect.interval) {
    return absl::StrFormat("too little traffic to tell %s (%s so far)", metric.noun, value);
  }
  return absl::StrFormat("no clear change of %s (%s %s)", metric.noun, value,
                         metric.IntervalText(*effect.interval));
}

std::string QualityClause(const ExperimentReport& report, size_t arm) {
  const EffectReport* kl = report.EffectOf(arm, "kl_nats");
  const auto& value = report.arms[arm].values[*MetricByKey("kl_nats")];
  if (kl == nullptr) {
    if (!value) return "; its quality was not measured";
    return absl::StrFormat(" at a KL of %.3f nats per token", *value);
  }
  const ReportMetric& metric = ReportMetrics()[kl->metric];
  std::string text = absl::StrFormat(" at a KL of %.3f", kl->value);
  if (kl->interval) {
    absl::StrAppendFormat(&text, " [%.3f, %.3f]", std::max(0.0, kl->interval->low),
                          kl->interval->high);
  }
  return absl::StrCat(text, " ", metric.effect_unit);
}

std::string MixedVerdict(const ExperimentReport& report, size_t arm) {
  const std::string& name = report.arms[arm].name;
  std::string text = name;
  const EffectReport* cost = report.EffectOf(arm, "attributed_s_per_token");
  if (cost == nullptr) {
    text += " has no attributed time to compare";
  } else {
    absl::StrAppend(&text, cost->IsClear() ? " costs " : " shows ", Change(*cost));
  }
  text += QualityClause(report, arm);
  const EffectReport* failures = report.EffectOf(arm, "failure_ratio");
  if (failures != nullptr && failures->IsClear()) {
    absl::StrAppend(&text, ", with ", ClearChange(*failures));
  }
  return absl::StrCat(text, "; ", kNoLatencies, ".");
}

std::string SwitchbackVerdict(const ExperimentReport& report, size_t arm) {
  std::vector<std::string> changes;
  for (const EffectReport& effect : report.effects) {
    if (effect.arm != arm) continue;
    const bool is_latency = ReportMetrics()[effect.metric].kind == ReportMetric::Kind::kLatency;
    const bool is_failure = effect.metric == *MetricByKey("failure_ratio");
    if (!is_latency && !(is_failure && effect.IsClear())) continue;
    changes.push_back(Change(effect));
    if (effect.p_value) absl::StrAppendFormat(&changes.back(), " (p %.2g)", *effect.p_value);
  }
  if (changes.empty()) changes.push_back("no window that counts in both arms");
  return absl::StrFormat(
      "%s shows %s against %s, over %d and %d windows by randomisation at a carry-over of order "
      "%d.",
      report.arms[arm].name, absl::StrJoin(changes, ", "), report.arms[0].name,
      report.arms[arm].units, report.arms[0].units, report.carry_over);
}

void AddCount(int64_t count, const std::string& one, const std::string& many,
              std::vector<std::string>& notes) {
  if (count > 0) notes.push_back(absl::StrCat(count, " ", count == 1 ? one : many));
}

void AddSwitchbackNotes(const ExperimentReport& report, const ReportOptions& options,
                        std::vector<std::string>& notes) {
  const std::string reach =
      report.carry_over == 0
          ? "if what an arm does ends within the washout"
          : absl::StrFormat("if no arm acts beyond %d windows after its own", report.carry_over);
  notes.push_back(absl::StrFormat(
      "Switchback of windows of %g s: intervals of %g %% and p-values come from assigning windows "
      "anew within their blocks; they hold at one look, when the planned windows are over, %s "
      "(carry-over of order %d). Relative changes are those of windows' geometric means.",
      report.window_seconds, 100 * (1 - options.alpha), reach, report.carry_over));
  AddCount(report.in_washout, "request of a washout does not count.",
           "requests of washouts do not count.", notes);
  AddCount(report.ran_on, "request ended after its window and does not count.",
           "requests ended after their window and do not count.", notes);
  int64_t requests = 0;
  for (const ArmReport& arm : report.arms) requests += arm.requests;
  if (static_cast<double>(report.ran_on) > kMuchRanOn * static_cast<double>(requests)) {
    notes.push_back(
        "That is many: the longest requests are missing, and more of them in the slower arm. Take "
        "longer windows.");
  }
  AddCount(report.contradictory,
           "request says another arm than its window's and does not count: clocks differ.",
           "requests say another arm than their window's and do not count: clocks differ.", notes);
}

}  // namespace

bool HasSampleRatioMismatch(const ExperimentReport& report) {
  return report.sample_ratio_p && *report.sample_ratio_p <= kSampleRatioAlpha;
}

std::vector<std::string> VerdictsOf(const ExperimentReport& report) {
  if (report.arms.empty()) return {"No request was in an arm: there is nothing to compare."};
  if (HasSampleRatioMismatch(report)) {
    return {absl::StrFormat(
        "The arms do not have their shares of the units (sample ratio p %.2g): assignment or "
        "logging is broken, and no other number here can be trusted.",
        *report.sample_ratio_p)};
  }
  if (report.arms.size() == 1) {
    return {
        absl::StrFormat("Only %s has traffic: there is nothing to compare.", report.arms[0].name)};
  }
  std::vector<std::string> verdicts;
  for (size_t arm = 1; arm < report.arms.size(); ++arm) {
    verdicts.push_back(report.design == Design::kMixed ? MixedVerdict(report, arm)
                                                       : SwitchbackVerdict(report, arm));
  }
  return verdicts;
}

std::vector<std::string> NotesOf(const ExperimentReport& report, const ReportOptions& options) {
  std::vector<std::string> notes;
  if (report.generations > 1) {
    notes.push_back(absl::StrFormat(
        "The logs hold %d configurations of this experiment: each is reported by itself.",
        report.generations));
  }
  if (!options.control.empty() && !report.arms.empty() && report.arms[0].name != options.control) {
    notes.push_back(absl::StrFormat("No arm is named %s: the others are compared with %s.",
                                    options.control, report.arms[0].name));
  }
  if (report.design == Design::kSwitchback) {
    AddSwitchbackNotes(report, options, notes);
  } else {
    notes.push_back(absl::StrFormat(
        "Intervals hold at every look, each by itself at %g %%: asymptotic confidence sequences "
        "over units. Effects of quality are differences, those of cost are relative.",
        100 * (1 - options.alpha)));
    if (report.of_metrics) {
      notes.push_back(
          "From metrics: a unit is a span of an arm's traffic. Metrics know no users, so whether "
          "the arms have their shares of them is not checked, and a user of many spans makes the "
          "intervals too narrow; exposure logs know better.");
    }
    notes.push_back(absl::StrCat("TTFT, ITL and E2E: ", kNoLatencies, "."));
  }
  notes.push_back(
      "Failed: error, rejected and deadline. Brier score and calibration error are of scored "
      "tokens.");
  AddCount(report.crossed_units, "unit met several arms and does not count.",
           "units met several arms and do not count.", notes);
  if (report.design == Design::kMixed) {
    AddCount(report.without_unit, "request names no unit and counts as one.",
             "requests name no unit and count as one each.", notes);
  }
  AddCount(report.enlarged, "request had its skip set enlarged under load; it counts in its arm.",
           "requests had their skip set enlarged under load; they count in their arms.", notes);
  for (const auto& [reason, count] : report.unassigned) {
    AddCount(count, absl::StrCat("request was in no arm: ", reason, "."),
             absl::StrCat("requests were in no arm: ", reason, "."), notes);
  }
  AddCount(report.other_arms, "request was in an arm beyond the most that are kept apart.",
           "requests were in arms beyond the most that are kept apart.", notes);
  return notes;
}

}  // namespace skipstone::experiment
