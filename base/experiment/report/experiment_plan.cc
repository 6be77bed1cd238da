#include "base/experiment/report/experiment_plan.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/statistics/power.h"
#include "base/table.h"

namespace skipstone::experiment {
namespace {

constexpr double kDayMs = 86'400e3;

const char* UnitsOf(const PlanSettings& settings) {
  return settings.design == Design::kMixed ? "units" : "windows";
}

nlohmann::ordered_json Number(const std::optional<double>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

}  // namespace

std::vector<PlanRow> MakePlan(const std::vector<PlanBaseline>& baselines,
                              const PlanSettings& settings) {
  const statistics::PlanOptions options = {.alpha = settings.alpha,
                                           .power = settings.power,
                                           .control_weight = settings.control_share,
                                           .treatment_weight = settings.treatment_share,
                                           .is_relative = true,
                                           .is_sequential = settings.design == Design::kMixed,
                                           .tuning = settings.tuning};
  std::vector<PlanRow> plan;
  for (const PlanBaseline& baseline : baselines) {
    PlanRow& row = plan.emplace_back(PlanRow{.baseline = baseline});
    const statistics::Baseline today = {.value = baseline.value,
                                        .unit_variance = baseline.variance};
    const auto units = statistics::PlannedUnits(today, settings.effect, options);
    if (units.ok()) {
      row.units = *units;
      row.days = *units / settings.units_per_day;
    }
    const auto smallest =
        statistics::MinimumDetectableEffect(today, settings.days * settings.units_per_day, options);
    if (smallest.ok()) row.smallest = *smallest;
  }
  return plan;
}

std::vector<PlanBaseline> BaselinesOf(const ExperimentReport& experiment, PlanSettings& settings) {
  settings.design = experiment.design;
  int64_t units = 0;
  for (const ArmReport& arm : experiment.arms) units += arm.units;
  // A log of seconds says nothing of days, but divides by no 0.
  const auto span_ms = static_cast<double>(experiment.last_unix_ms - experiment.first_unix_ms);
  settings.units_per_day = static_cast<double>(units) / std::max(span_ms, 1e3) * kDayMs;
  std::vector<PlanBaseline> baselines;
  for (size_t i = 0; i < kReportMetrics; ++i) {
    const auto knows = [&](const ArmReport& arm) { return arm.values[i] && arm.variances[i]; };
    const auto arm = std::ranges::find_if(experiment.arms, knows);
    if (arm == experiment.arms.end() || *arm->values[i] == 0) continue;
    const ReportMetric& metric = ReportMetrics()[i];
    const bool is_control = arm == experiment.arms.begin();
    const std::string title =
        is_control ? metric.title : absl::StrCat(metric.title, " (", arm->name, ")");
    baselines.push_back(
        {title, *arm->values[i] * metric.scale, *arm->variances[i] * metric.scale * metric.scale});
  }
  return baselines;
}

std::string PlanToTable(const std::vector<PlanRow>& plan, const PlanSettings& settings) {
  std::ostringstream out;
  out << absl::StrFormat(
      "A change of %g %% is found with a power of %g at alpha %g, %s; %.4g new %s a day.\n\n",
      100 * settings.effect, settings.power, settings.alpha,
      settings.design == Design::kMixed ? "looking as often as one likes"
                                        : "looking once, at the end",
      settings.units_per_day, UnitsOf(settings));
  Table table({"metric", "baseline", "deviation", UnitsOf(settings), "days",
               absl::StrFormat("smallest change in %g days %%", settings.days)});
  for (const PlanRow& row : plan) {
    const auto text = [](const std::optional<double>& value, int decimals) {
      return value ? FormatNumber(*value, decimals) : "-";
    };
    table.AddRow({row.baseline.title, absl::StrFormat("%.5g", row.baseline.value),
                  absl::StrFormat("%.4g", std::sqrt(row.baseline.variance)), text(row.units, 0),
                  text(row.days, 1), row.smallest ? FormatNumber(100 * *row.smallest, 2) : "-"});
  }
  table.Print(out);
  return out.str();
}

std::string PlanToJson(const std::vector<PlanRow>& plan, const PlanSettings& settings) {
  nlohmann::ordered_json json = {{"design", NameOf(settings.design)},
                                 {"effect", settings.effect},
                                 {"power", settings.power},
                                 {"alpha", settings.alpha},
                                 {"units_per_day", settings.units_per_day},
                                 {"days", settings.days},
                                 {"metrics", nlohmann::ordered_json::array()}};
  for (const PlanRow& row : plan) {
    json["metrics"].push_back({{"metric", row.baseline.title},
                               {"baseline", row.baseline.value},
                               {"unit_variance", row.baseline.variance},
                               {"units", Number(row.units)},
                               {"days", Number(row.days)},
                               {"smallest_effect", Number(row.smallest)}});
  }
  return json.dump(2) + "\n";
}

}  // namespace skipstone::experiment
