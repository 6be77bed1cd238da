// From exposure records to a report.
//
//   ReportBuilder builder(options);
//   ExposureCounts counts;
//   MergeExposures(logs, [&](const ExposureRecord& record) { builder.Add(record); }, counts);
//   std::cout << ToTable(builder.Finish(counts));
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "base/experiment/report/arm_traffic.h"
#include "base/experiment/report/experiment_tally.h"
#include "base/experiment/report/report_data.h"

namespace skipstone::experiment {

// Each experiment is kept apart by configuration, as are designs: no number mixes two. One thread.
class ReportBuilder {
 public:
  // Experiments and configurations of them together; others are counted.
  static constexpr size_t kMostTallies = 100;

  explicit ReportBuilder(ReportOptions options) : options_(std::move(options)) {}

  // About in order of time: looks are taken as time passes.
  void Add(const ExposureRecord& record);
  // As one unit of its arm: spans are to be long against what one request leaves behind. Its
  // experiment is taken for a mixed one, of one configuration.
  void Add(const ArmTraffic& traffic);
  // What was read so far; may go on.
  ExposureReport Finish(const ExposureCounts& counts) const;

 private:
  // Null: there are too many.
  ExperimentTally* TallyOf(const Exposure& exposure);

  const ReportOptions options_;
  std::map<std::tuple<std::string, uint64_t, Design>, ExperimentTally> tallies_;
  int64_t outside_ = 0;
  int64_t dropped_ = 0;
};

}  // namespace skipstone::experiment
