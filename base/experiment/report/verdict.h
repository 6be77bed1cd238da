// What an experiment's numbers come to, in sentences. Pure functions: any thread may call.
#pragma once

#include <string>
#include <vector>

#include "base/experiment/report/report_data.h"

namespace skipstone::experiment {

// At most this likely by chance alone, arms that do not have their shares of the units are a fault.
inline constexpr double kSampleRatioAlpha = 0.01;
bool HasSampleRatioMismatch(const ExperimentReport& report);

// One for each arm but the control; one in all where there is nothing to compare or nothing to
// trust. `report` needs neither verdicts nor notes.
std::vector<std::string> VerdictsOf(const ExperimentReport& report);
// How to read the numbers, and what was not counted.
std::vector<std::string> NotesOf(const ExperimentReport& report, const ReportOptions& options);

// Why a mixed design shows no latencies.
inline constexpr char kNoLatencies[] =
    "latencies of mixed arms are not compared, because arms share steps: use a switchback";

}  // namespace skipstone::experiment
