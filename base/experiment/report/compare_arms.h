// Effects of arms on the metrics of a report. Pure functions: any thread may call.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "base/experiment/report/report_data.h"
#include "base/experiment/report/unit_table.h"
#include "base/experiment/report/window_table.h"
#include "base/statistics/effects.h"

namespace skipstone::experiment {

inline constexpr int64_t kLeastUnits = 30;  // of an arm, before it has an interval

// Of ratios over units. An arm whose ratio has no variance, as the full model's divergence from
// itself, is a known number; not so a share of requests. Nothing where neither varies, and for less
// than kLeastUnits in an arm: intervals rest on a central limit theorem.
std::optional<statistics::Effect> RatioEffect(const ReportMetric& metric,
                                              const statistics::Moments<2>& control,
                                              const statistics::Moments<2>& treatment);

// Of a mixed design: intervals and p-values hold at every look. Nothing where an arm has no value.
std::optional<EffectReport> CompareUnits(size_t metric, const MetricMoments& control,
                                         const MetricMoments& treatment,
                                         const ReportOptions& options);

// Of a switchback: randomisation over windows, valid at one look. Relative effects are those of the
// windows' logarithms. `control` and `treatment` are arms of the rows.
std::optional<EffectReport> CompareWindows(size_t metric,
                                           const std::map<int64_t, WindowTable::Row>& rows,
                                           int control, int treatment,
                                           const ReportOptions& options);

}  // namespace skipstone::experiment
