// What a benchmark found: latencies, throughput, goodput and failures, per part of the mix and in
// all. Makes it from the records; prints it as tables or JSON.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/workload/group_report.h"
#include "base/workload/workload.h"
#include "client/cli/load_stream.h"

namespace skipstone::client {

struct Failures {
  uint64_t count = 0;
  std::string message;  // of the first one
};

struct LoadGroup : GroupReport {
  uint64_t kv_pages_used = 0;
  uint64_t kv_pages_windowed = 0;
  uint64_t kv_pages_omitted = 0;
  std::map<std::string, Failures> failures;  // by code
};

struct BenchReport {
  bool open_loop = false;
  double seconds = 0;  // first scheduled arrival to last end
  bool has_limits = false;
  bool has_ceiling = false;
  int64_t shortened = 0;  // requests cut to the model's context
  Histogram lag;          // scheduled to started: this program's own delay
  LoadGroup all;
  std::vector<LoadGroup> parts;  // in the mix's order

  void Print(std::ostream& out) const;
  nlohmann::ordered_json ToJson() const;
};

// At least one record.
BenchReport MakeReport(const std::vector<LoadRecord>& records, const std::vector<MixPart>& mix,
                       const std::optional<GoodputLimits>& limits);

}  // namespace skipstone::client
