#include "base/experiment/report/unit_table.h"

#include <cmath>

namespace skipstone::experiment {

void UnitTable::Add(uint64_t unit, size_t arm, const WindowSums& request) {
  const auto [place, is_new] = places_.try_emplace(unit, static_cast<uint32_t>(units_.size()));
  if (is_new) units_.push_back({.arm = arm});
  Unit& found = units_[place->second];
  if (found.arm != arm && found.arm != Unit::kCrossed) {
    found.arm = Unit::kCrossed;
    ++crossed_;
  }
  AddTo(found.sums, request);
}

std::vector<int64_t> UnitTable::CountByArm(size_t arms) const {
  std::vector<int64_t> counts(arms);
  for (const Unit& unit : units_) {
    if (unit.arm < arms) ++counts[unit.arm];
  }
  return counts;
}

std::vector<MetricMoments> UnitTable::MomentsByArm(size_t arms) const {
  std::vector<MetricMoments> moments(arms);
  for (const Unit& unit : units_) {
    if (unit.arm >= arms) continue;
    for (size_t i = 0; i < kReportMetrics; ++i) {
      const ReportMetric& metric = ReportMetrics()[i];
      if (metric.kind == ReportMetric::Kind::kLatency) continue;
      const double numerator = unit.sums[metric.numerator];
      const double denominator = unit.sums[metric.denominator];
      if (!(denominator > 0) || std::isnan(numerator)) continue;  // ArmTraffic::kUnknown
      moments[unit.arm][i].Add({numerator, denominator});
    }
  }
  return moments;
}

}  // namespace skipstone::experiment
