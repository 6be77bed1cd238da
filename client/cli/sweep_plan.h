// What a sweep measures: sets, token ids and settings, all that its results depend on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "client/cli/sweep_files.h"
#include "client/cli/sweep_results.h"
#include "client/client.h"

namespace skipstone::client {

struct SweptSkip {
  std::string name;  // as it was given
  v1::Skip skip;
  std::string spec;  // canonical, by the server
};

struct SweepSettings {
  uint32_t window = 512;        // tokens, with the beginning-of-sequence token; cut to the context
  uint32_t max_tokens = 32;     // of a continuation
  uint32_t speed_tokens = 256;  // of the prompt whose time is taken; cut to the context
  uint32_t speed_runs = 5;      // 0: times are not taken
  std::optional<uint32_t> items;  // of each file; unset: all
};

struct SweepPlan {
  v1::GetModelResponse model;
  SweepSettings settings;
  SweepFiles files;
  std::vector<SweptSkip> skips;                // the full model first
  std::vector<v1::ScoreItem> windows;          // of the text, equally long
  std::vector<std::vector<uint32_t>> prompts;  // with the beginning-of-sequence token

  size_t Items(SweepTask task) const;
  // All results that there will be, in the order in which they are to be measured.
  std::vector<SweepKey> Keys() const;
  // A context that is given as ids; of texts the server adds what stands before them.
  std::vector<uint32_t> BehindBos(const std::vector<int32_t>& ids) const;
  // Whether the result can be one of these; a journal's may have been changed by hand.
  bool Fits(const SweepKey& key, const SweepResult& result) const;
  // Of the journal: model, levels, skips, inputs and settings.
  nlohmann::json Header() const;
};

// Asks the server for its model, for the canonical form of each of `skips` (empty: its levels) and
// for the ids of the texts. The full model is put first if it is not among them. Errors: those of
// the calls, naming the skip or the file; INVALID_ARGUMENT for a text without a whole window, and
// without `skips` for a server of a single level.
absl::StatusOr<SweepPlan> MakeSweepPlan(const Client& client, const CallOptions& options,
                                        const std::vector<std::string>& skips, SweepFiles files,
                                        const SweepSettings& settings);

}  // namespace skipstone::client
