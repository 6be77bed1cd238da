// Before an experiment: how long it takes to find an effect, and what a given time can find. Pure
// functions: any thread may call.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/experiment/report/report_data.h"

namespace skipstone::experiment {

struct PlanSettings {
  Design design = Design::kMixed;  // units, judged at every look; or windows, judged at the end
  double effect = 0.05;            // as a share of the baseline
  double power = 0.8;
  double alpha = 0.05;
  double tuning = 5000;
  double control_share = 0.5;
  double treatment_share = 0.5;
  double units_per_day = 0;  // new units, or windows, of all arms; > 0
  double days = 14;          // in which the smallest effect is asked for
};

struct PlanBaseline {
  std::string title;
  double value = 0;     // of the metric today
  double variance = 0;  // of it, by unit or window
};

struct PlanRow {
  PlanBaseline baseline;
  // Unset where none is enough, or the baseline is 0 or has no variance.
  std::optional<double> units;     // that find settings.effect
  std::optional<double> days;      // in which they come
  std::optional<double> smallest;  // share of the baseline that settings.days find
};

std::vector<PlanRow> MakePlan(const std::vector<PlanBaseline>& baselines,
                              const PlanSettings& settings);

// What an experiment's log says of today, in the first arm that has a spread: the metrics of the
// report. Design and units per day go into `settings`.
std::vector<PlanBaseline> BaselinesOf(const ExperimentReport& experiment, PlanSettings& settings);

std::string PlanToTable(const std::vector<PlanRow>& plan, const PlanSettings& settings);
// {"design", "effect", "power", "alpha", "units_per_day", "days", "metrics": [{"metric",
// "baseline", "unit_variance", "units", "days", "smallest_effect"}]}, null where unset.
std::string PlanToJson(const std::vector<PlanRow>& plan, const PlanSettings& settings);

}  // namespace skipstone::experiment
