// What requests add to: numbers that are summed over a unit, a window or an arm.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "base/experiment/exposure_record.h"

namespace skipstone::experiment {

enum Sum : size_t {
  kRequests,
  kFailures,     // see IsFailure
  kAttributedS,  // seconds
  kTokens,       // of prompts and outputs
  kGeneratedTokens,
  kPages,         // of the KV cache, at the end
  kShadowTokens,  // that the full model scored again; of these:
  kKlNats,
  kAgreeingTokens,
  kLogprobNats,  // log-probabilities under the full model less those under the level
  kBrier,
  kUnitSums,  // how many units have; latencies belong to windows alone
  kE2eS = kUnitSums,
  kTtftS,
  kTtftRequests,  // that have one
  kItlS,          // of requests' means
  kItlRequests,
  kWindowSums,
};
using UnitSums = std::array<double, kUnitSums>;
using WindowSums = std::array<double, kWindowSums>;

// The outcomes that are the server's fault: error, rejected, deadline. Calls that a caller cancels
// or aborts, and answers that a limit of the caller's ends, are none.
bool IsFailure(std::string_view outcome);

// The first kUnitSums of them are a unit's.
WindowSums SumsOf(const ExposureRecord& record);

template <size_t n>
void AddTo(std::array<double, n>& sums, const WindowSums& more) {
  for (size_t i = 0; i < n; ++i) sums[i] += more[i];
}

}  // namespace skipstone::experiment
