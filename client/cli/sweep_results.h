// What a sweep measures, each result of one or two calls, and its form in the journal.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "base/quality/measures.h"

namespace skipstone::client {

// A prompt and its continuation of set lengths, alone.
struct SpeedResult {
  double prefill_ms = 0;
  double decode_ms = 0;  // first to last token
  uint32_t prompt_tokens = 0;
  uint32_t output_tokens = 0;
  uint64_t kv_pages_used = 0;
};

// A window of text. `kl` and `agrees` of the sums are not known to one call.
struct TextResult {
  quality::WindowSums sums;
  std::vector<uint32_t> likeliest;  // at each scored place
};

// An item of multiple choice.
struct ChoicesResult {
  std::vector<double> loglikelihood;  // by choice
};

struct LastWordResult {
  double logprob = 0;
  bool greedy = false;  // each token of the word was the likeliest
};

// A prompt's continuation.
struct Continuation {
  std::vector<uint32_t> ids;
  double logprob = 0;   // of them, under the full model
  uint32_t agrees = 0;  // of them, the full model's likeliest at their place
};
struct GenerationResult {
  Continuation greedy;
  Continuation sampled;  // at temperature 1
};

// In the order in which they are measured; indices of SweepResult.
enum class SweepTask { kSpeed, kText, kChoices, kLastWords, kGeneration };
using SweepResult =
    std::variant<SpeedResult, TextResult, ChoicesResult, LastWordResult, GenerationResult>;

struct SweepKey {
  SweepTask task = SweepTask::kSpeed;
  int item = 0;  // a run, window, line or prompt
  int skip = 0;  // index

  friend auto operator<=>(const SweepKey&, const SweepKey&) = default;
};
using SweepResults = std::map<SweepKey, SweepResult>;

// Those of a task under a skip, by item. All must be there.
template <class Result>
std::vector<const Result*> ResultsOf(const SweepResults& results, SweepTask task, int skip,
                                     size_t items) {
  std::vector<const Result*> found;
  for (size_t i = 0; i < items; ++i) {
    found.push_back(&std::get<Result>(results.at({task, static_cast<int>(i), skip})));
  }
  return found;
}

nlohmann::json ToJson(const SweepKey& key, const SweepResult& result);
// INVALID_ARGUMENT if it is none. Numbers are read back as they were.
absl::StatusOr<std::pair<SweepKey, SweepResult>> SweepResultFromJson(const nlohmann::json& json);

}  // namespace skipstone::client
