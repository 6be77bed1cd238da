// What a simulation found, per part of the mix and in all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/workload/group_report.h"
#include "base/workload/workload.h"
#include "tools/sim/simulator.h"

namespace skipstone {

// Requests that failed are those that were refused.
struct SimGroup : GroupReport {
  int64_t cached_tokens = 0;  // of the prompts, at the first start
  int64_t preemptions = 0;
  int64_t kept_layers = 0;      // of attention, at the end, over all requests
  int64_t windowed_layers = 0;  // of these
  int64_t pages = 0;            // that the finished sequences held, shared ones included

  // Of prompt tokens.
  double HitRate() const;
};

struct SimReport {
  std::vector<SimGroup> levels;  // in the mix's order
  SimGroup all;
  int replicas = 1;
  double seconds = 0;
  double busy_fraction = 0;  // of a replica's time, mean
  double rows_per_step = 0;
  int64_t total_pages = 0;
  TimeSeries pages;
  TimeSeries waiting;
  TimeSeries serving;  // empty, as the next, where the number of replicas is fixed
  TimeSeries shed;
};

SimReport MakeReport(const SimResult& result, const FleetOptions& fleet,
                     const std::vector<MixPart>& mix, const GoodputLimits& limits);

// One line of JSON; tools/sim/report.py makes tables and plots of it.
std::string ToJson(const SimReport& report);

}  // namespace skipstone
