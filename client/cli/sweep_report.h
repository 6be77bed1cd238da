// What a sweep's results come to.
#pragma once

#include "base/quality/level_report.h"
#include "client/cli/sweep_plan.h"
#include "client/cli/sweep_results.h"

namespace skipstone::client {

// `results` has all of plan.Keys(). Depends on nothing else: equal results, equal reports.
quality::LevelReport MakeSweepReport(const SweepPlan& plan, const SweepResults& results);

}  // namespace skipstone::client
