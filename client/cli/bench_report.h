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

#include "client/cli/goodput.h"
#include "client/cli/request_mix.h"
#include "client/cli/request_record.h"
#include "client/cli/statistics.h"

namespace skipstone::client {

struct Failures {
  uint64_t count = 0;
  std::string message;  // of the first one
};

// Requests that failed count in `requests`, `failures` and goodput, and nowhere else.
struct GroupReport {
  std::string name;
  uint64_t requests = 0;
  uint64_t ok = 0;
  uint64_t good = 0;  // kept the goodput limits
  uint64_t prompt_tokens = 0;
  uint64_t output_tokens = 0;
  uint64_t kv_pages_used = 0;
  uint64_t kv_pages_omitted = 0;
  uint64_t browned_out = 0;  // started at their ceiling
  uint64_t shed = 0;         // shed layers while they ran
  Summary ttft_ms;
  Summary itl_ms;
  Summary tpot_ms;
  Summary e2e_ms;
  std::map<std::string, Failures> failures;  // by code
};

struct BenchReport {
  bool open_loop = false;
  double seconds = 0;  // first scheduled arrival to last end
  bool has_limits = false;
  bool has_ceiling = false;
  uint64_t shortened = 0;  // requests cut to the model's context
  Summary lag_ms;          // scheduled to started: this program's own delay
  GroupReport all;
  std::vector<GroupReport> parts;  // in the mix's order

  void Print(std::ostream& out) const;
  nlohmann::ordered_json ToJson() const;
};

// At least one record.
BenchReport MakeReport(const std::vector<RequestRecord>& records, const std::vector<MixPart>& mix,
                       const std::optional<GoodputLimits>& limits);

}  // namespace skipstone::client
