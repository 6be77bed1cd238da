// A report as text for a terminal and as JSON. All texts of logs may be anything.
#pragma once

#include <string>

#include "base/experiment/report/report_data.h"

namespace skipstone::experiment {

std::string ToTable(const ExposureReport& report);
// One line for each verdict behind `prefix`: "NAME: sentence", with the configuration where there
// are several.
std::string ToVerdictLines(const ExposureReport& report, const std::string& prefix = "");
// {"alpha", "records", "refused_lines", "errors", "outside", "experiments": [{"name", "layer",
// "design", "generation", ..., "arms": [{"name", ..., "values": {METRIC: number or null}}],
// "effects": [{"arm", "metric", "is_relative", "value", "interval": [low, high] or null,
// "p_value"}], "looks", "worst_requests", "verdicts", "notes"}]}, unscaled numbers.
std::string ToJson(const ExposureReport& report);
// The same in one line.
std::string ToJsonLine(const ExposureReport& report);

// "2026-11-30 10:20:30", UTC.
std::string TimeText(int64_t unix_ms);
// What was read: one sentence each.
std::vector<std::string> CountNotes(const ExposureReport& report);
// "mixed, configuration 5eed..., 2026-... to 2026-..."
std::string Subtitle(const ExperimentReport& experiment);
// The metrics that an arm has a value of, by index.
std::vector<size_t> Measured(const ExperimentReport& experiment);

}  // namespace skipstone::experiment
