// The windows of one switchback: what was counted in each, and those that no request came in.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/experiment/report/report_metric.h"
#include "base/statistics/switchback.h"

namespace skipstone::experiment {

// One thread.
class WindowTable {
 public:
  // Windows that a table has at most, from the first to the last: half a year of minutes.
  static constexpr int64_t kMostWindows = 1 << 18;

  // A request that was assigned. Counts it if it neither came in the washout nor ran on beside
  // another window.
  void Add(const ExposureWindow& window, size_t arm, const WindowSums& request);

  struct Row {
    int64_t block = 0;
    int arm = 0;  // statistics::Window's; -1: not known, for nothing came in it
    WindowSums sums = {};
  };
  // All windows from the first to the last, with those without traffic. `shares` are the arms'. In
  // a block that lies within the log these get the arms that the block still lacks, in any order:
  // nothing that is estimated depends on which is which.
  std::map<int64_t, Row> Filled(std::span<const double> shares) const;

  // Requests that did not count, and why.
  int64_t in_washout() const { return in_washout_; }
  int64_t ran_on() const { return ran_on_; }
  // Their clock and the window's first request's did not agree on its arm, or they are farther
  // from the first window than kMostWindows.
  int64_t contradictory() const { return contradictory_; }
  double seconds() const { return seconds_; }  // the length of a window

 private:
  std::map<int64_t, Row> rows_;
  int64_t in_washout_ = 0;
  int64_t ran_on_ = 0;
  int64_t contradictory_ = 0;
  double seconds_ = 0;
};

// A metric of the windows, as EstimateSwitchback takes it: sums, or where `logarithms` those of the
// windows' ratios, each over 1; windows without a ratio above 0 then count nothing.
std::vector<statistics::Window> WindowsOf(const std::map<int64_t, WindowTable::Row>& rows,
                                          const ReportMetric& metric, bool logarithms);

}  // namespace skipstone::experiment
