// What a simulation found, per skip level and in all, as tables, JSON and SVG.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "tools/sim/simulator.h"

namespace skipstone {

// The latencies that a request must keep to count as good.
struct GoodputLimits {
  double ttft_s = std::numeric_limits<double>::infinity();
  double itl_s = std::numeric_limits<double>::infinity();   // of the longest gap
  double tpot_s = std::numeric_limits<double>::infinity();  // of the mean gap
  double e2e_s = std::numeric_limits<double>::infinity();

  // A refused request keeps none.
  bool KeptBy(const RequestRecord& record) const;
};

// Refused requests count in `requests` and `refused` only.
struct GroupReport {
  std::string name;
  int64_t requests = 0;
  int64_t refused = 0;
  int64_t good = 0;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompts, at the first start
  int64_t output_tokens = 0;
  int64_t preemptions = 0;
  int64_t browned_out = 0;  // requests that started at their ceiling
  int64_t shed = 0;         // requests that lost layers while they ran
  int64_t kept_layers = 0;  // of attention, at the end, over all requests
  int64_t pages = 0;        // that the finished sequences held, shared ones included
  Histogram ttft;
  Histogram itl;
  Histogram tpot;  // mean gap of a request, from two tokens on
  Histogram e2e;

  // Of prompt tokens.
  double HitRate() const;
};

struct SimReport {
  std::vector<GroupReport> levels;
  GroupReport all;
  int replicas = 1;
  double seconds = 0;
  double busy_fraction = 0;  // of a replica's time, mean
  double rows_per_step = 0;
  int64_t total_pages = 0;
  TimeSeries pages;
  TimeSeries waiting;
};

SimReport MakeReport(const SimResult& result, const FleetOptions& fleet,
                     const std::vector<Level>& levels, const GoodputLimits& limits);

std::string ToTable(const SimReport& report);
std::string ToJson(const SimReport& report);
std::string ToSvg(const SimReport& report);

}  // namespace skipstone
