// What the logs say of one experiment under one configuration, in memory bounded by its units and
// windows.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/experiment/report/arm_traffic.h"
#include "base/experiment/report/report_data.h"
#include "base/experiment/report/unit_table.h"
#include "base/experiment/report/window_table.h"

namespace skipstone::experiment {

// One thread.
class ExperimentTally {
 public:
  static constexpr size_t kMostArms = 64;
  static constexpr size_t kMostLooks = 64;

  // Of the experiment, design and generation of `exposure`.
  explicit ExperimentTally(const Exposure& exposure);

  // About in order of time; `exposure` is the record's.
  void Add(const ExposureRecord& record, const Exposure& exposure);
  // A unit by itself.
  void Add(const ArmTraffic& traffic);

  // All but `generations`.
  ExperimentReport Report(const ReportOptions& options) const;

 private:
  struct Arm {
    std::string name;
    double share = 0;
    int64_t requests = 0;
    std::map<std::string, int64_t> outcomes;
    quality::WindowSums shadows = {};  // tokens and bins alone
  };
  // What the units were at a time.
  struct Look {
    int64_t time_unix_ms = 0;
    std::vector<int64_t> units;  // by arm
    std::vector<MetricMoments> moments;
  };

  void Saw(int64_t time_ms);
  // kMostArms: there are too many.
  size_t ArmOf(const std::string& name);
  static void AddOutcomes(const std::string& outcome, int64_t requests, Arm& arm);
  static void AddToArm(const ExposureRecord& record, Arm& arm);
  void AddWorst(const ExposureRecord& record, size_t arm);
  void LookIfDue(int64_t now_ms);
  Look LookAt(int64_t time_ms) const;
  // The arms as they are reported: the control first, the others by name.
  std::vector<size_t> OrderOfArms(const std::string& control) const;
  void ReportUnits(const std::vector<size_t>& order, const ReportOptions& options,
                   ExperimentReport& report) const;
  void ReportWindows(const std::vector<size_t>& order, const ReportOptions& options,
                     ExperimentReport& report) const;

  ExperimentReport report_;  // the counts
  std::deque<Arm> arms_;     // by first sight
  UnitTable units_;
  WindowTable windows_;
  std::vector<WorstRequest> worst_;  // a heap: the least bad in front
  std::vector<Look> looks_;
  int64_t spacing_ms_ = 60'000;
  int64_t next_look_ms_ = 0;
  uint64_t spans_ = 0;  // of traffic without requests
};

}  // namespace skipstone::experiment
