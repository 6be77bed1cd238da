// Random traffic for a scheduler as a list of operations, so that a failing list can be cut down
// to the few that matter (shrink.h). Every operation is legal whatever came before it.
#pragma once

#include <cstdint>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "engine/schedule/scheduler.h"

namespace skipstone {

inline constexpr int kTrafficLayers = 4;
inline constexpr int kTrafficVocab = 50;
inline constexpr int kTrafficPageTokens = 4;

// What varies from one run to the next. No sequence needs more than 32 pages, with windows 128.
struct TrafficSetting {
  std::string name;
  int max_batch_tokens = 16;
  int64_t num_pages = 1000;
  int max_in_flight = 1;
  bool prefix_cache = true;
  bool fair_share = false;
  bool removals = false;
  bool common_prefixes = false;
  bool ceilings = false;
  bool deadlines = false;
  bool prefill_limits = false;
  bool prompt_results = false;  // scored texts and log-probabilities of prompts
  bool windows = false;         // windowed layers too, and sequences long enough for gaps
  bool maps = false;            // for skipped sublayers, of sets and of ceilings
  int most_outputs = 1;
  int brownout_waiting = 1 << 30;
};

struct Operation {
  enum class Kind { kAdd, kRemove, kPlan, kCommit, kExpire, kLimitPrefill };
  Kind kind = Kind::kAdd;
  uint32_t value = 0;  // decides all details
  Time at{};
};

std::vector<Operation> RandomOperations(const TrafficSetting& setting, uint32_t seed, int count);

// The outputs of the request that a kAdd adds, without ids.
std::vector<SequenceSpec> SpecsOf(const TrafficSetting& setting, const Operation& add);

// One operation a line.
std::string Describe(const TrafficSetting& setting, std::span<const Operation> operations);

// For test names and failure messages.
inline void PrintTo(const TrafficSetting& setting, std::ostream* out) { *out << setting.name; }

}  // namespace skipstone
