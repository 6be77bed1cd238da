// The units of one experiment and what their requests came to: about 120 bytes a unit.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/experiment/report/report_metric.h"
#include "base/statistics/moments.h"

namespace skipstone::experiment {

// Of an arm, for each metric: numerator and denominator of the units that have one.
using MetricMoments = std::array<statistics::Moments<2>, kReportMetrics>;

// One thread.
class UnitTable {
 public:
  // A request of a unit, by its hash.
  void Add(uint64_t unit, size_t arm, const WindowSums& request);

  // Units of each of `arms`. Those that met several arms belong to none: what they did in one may
  // come from the other.
  std::vector<int64_t> CountByArm(size_t arms) const;
  int64_t crossed() const { return crossed_; }
  // In one pass over the units. Metrics of latency stay empty.
  std::vector<MetricMoments> MomentsByArm(size_t arms) const;

 private:
  struct Unit {
    static constexpr size_t kCrossed = SIZE_MAX;
    size_t arm = 0;
    UnitSums sums = {};
  };

  absl::flat_hash_map<uint64_t, uint32_t> places_;
  std::deque<Unit> units_;
  int64_t crossed_ = 0;
};

}  // namespace skipstone::experiment
