// The metrics of an experiment's report, each once: of which sums it is the ratio, and how it and
// its effects are shown.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "base/experiment/report/request_sums.h"
#include "base/statistics/interval.h"

namespace skipstone::experiment {

struct ReportMetric {
  enum class Kind { kOutcome, kQuality, kCost, kLatency };

  Kind kind;
  const char* key;    // in JSON
  const char* title;  // with the unit
  const char* noun;   // in sentences: "attributed time per token"
  const char* help;   // one line
  Sum numerator;
  Sum denominator;
  double scale;             // of what is shown: 1000 for milliseconds, 100 for percent
  int decimals;             // ... of values
  bool is_relative;         // effects are shares of the control's value, else differences
  const char* effect_unit;  // "%", "points" of percent, "nats/token", or none
  int better;               // 1: more is better, -1: less is, 0: neither

  // Unscaled values: "61.60", "+3.1 %"; "-" for what is not finite.
  std::string ValueText(double value) const;
  std::string EffectText(double effect) const;
  std::string EffectNumber(double effect) const;  // without its unit
  // "[58.2, 65.1]", in the form of effects, without their unit.
  std::string IntervalText(const statistics::Interval& interval) const;
  // Effects as they are shown.
  double Shown(double effect) const { return effect * (is_relative ? 100 : scale); }
};

// In the order in which they are shown. Those of kLatency are for switchbacks alone: arms that
// share steps share their latencies.
std::span<const ReportMetric> ReportMetrics();
inline constexpr size_t kReportMetrics = 12;
// The index of a metric by its key; nothing for other texts.
std::optional<size_t> MetricByKey(const std::string& key);
const char* NameOf(ReportMetric::Kind kind);

}  // namespace skipstone::experiment
