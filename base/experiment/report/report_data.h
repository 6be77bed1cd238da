// What exposure logs say of experiments: plain values, made by ReportBuilder, shown by
// report_text.h and report_html.h.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/experiment/exposure_reader.h"
#include "base/experiment/report/report_metric.h"
#include "base/statistics/interval.h"

namespace skipstone::experiment {

struct ReportOptions {
  std::string control;   // name of the arm that others are compared with; empty: the one named
                         // "control", else the first by name
  double alpha = 0.05;   // of each interval by itself
  double tuning = 5000;  // units at which intervals are tightest: statistics::SequentialOptions
  int carry_over = 0;    // order of a switchback: windows that an arm still acts on after its own
};

struct ArmReport {
  std::string name;
  double share = 0;  // of the units or windows, by configuration; 0: not known
  int64_t requests = 0;
  int64_t units = 0;  // mixed: units in this arm alone; switchback: windows with counted requests
  std::map<std::string, int64_t> outcomes;
  std::array<std::optional<double>, kReportMetrics> values;     // unset: nothing to divide by
  std::array<std::optional<double>, kReportMetrics> variances;  // of a unit or window, for plans
  std::optional<double> calibration_error;  // of scored tokens, expected, 0 to 1
};

// Of an arm against the control.
struct EffectReport {
  size_t metric = 0;  // of ReportMetrics()
  size_t arm = 0;     // of ExperimentReport::arms, from 1
  double value = 0;
  std::optional<statistics::Interval> interval;  // unset: too little is known
  std::optional<double> p_value;                 // of no effect

  bool IsClear() const { return interval && !interval->Contains(0); }
};

// What the report would have said at a time: mixed designs alone.
struct LookReport {
  int64_t time_unix_ms = 0;
  int64_t units = 0;
  std::vector<EffectReport> effects;
};

// A window of a switchback.
struct WindowPoint {
  int64_t time_unix_ms = 0;
  size_t arm = 0;
  double value = 0;  // seconds
};

// A request that its level did much to.
struct WorstRequest {
  double kl_per_token = 0;  // nats
  int64_t tokens = 0;       // scored
  size_t arm = 0;
  std::string level;
  std::string request_id;
  std::string traceparent;  // empty: none

  static constexpr size_t kMost = 10;
};

// Of one experiment under one configuration.
struct ExperimentReport {
  std::string name;
  std::string layer;
  Design design = Design::kMixed;
  Hash generation;
  int generations = 1;  // configurations of this experiment in the logs
  int64_t first_unix_ms = 0;
  int64_t last_unix_ms = 0;

  std::vector<ArmReport> arms;           // the control first
  std::optional<double> sample_ratio_p;  // sequential; unset: arms have no shares, or there is one
  std::vector<EffectReport> effects;
  std::vector<LookReport> looks;     // ascending
  std::vector<WindowPoint> windows;  // the last ones, of window_metric
  std::optional<size_t> window_metric;
  std::vector<WorstRequest> worst;  // the largest divergence first

  std::map<std::string, int64_t> unassigned;  // requests outside of the arms, by reason
  bool of_metrics = false;                    // units are spans of an arm's traffic: ArmTraffic
  int64_t enlarged = 0;                       // requests whose skip set load enlarged; they count
  int64_t without_unit = 0;                   // requests that count as a unit each
  int64_t crossed_units = 0;                  // that met several arms; they do not count
  int64_t in_washout = 0;                     // requests that do not count, as the next ones
  int64_t ran_on = 0;                         // ended in a later window
  int64_t contradictory = 0;                  // say another arm than their window's
  int64_t other_arms = 0;  // requests of arms beyond the most that are kept apart
  double window_seconds = 0;
  int carry_over = 0;

  std::vector<std::string> verdicts;  // one sentence for each arm but the control, or one in all
  std::vector<std::string> notes;     // what a reader must know, one sentence each

  // Null if that metric was not compared.
  const EffectReport* EffectOf(size_t arm, const std::string& key) const;
};

struct ExposureReport {
  ReportOptions options;
  ExposureCounts counts;
  int64_t outside = 0;  // records that met no experiment
  int64_t dropped = 0;  // exposures of experiments beyond the most that are kept apart
  std::vector<ExperimentReport> experiments;  // by name, then by time
};

}  // namespace skipstone::experiment
