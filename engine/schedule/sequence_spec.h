// What the scheduler is asked for: one output of one request. Plain values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/schedule/step_plan.h"
#include "engine/skip/skip_set.h"
#include "engine/step/sampling.h"

namespace skipstone {

class Sequence;

// The sequences of one request, which the engine's live request is: so they know whose they are.
struct SequenceGroup {
  std::vector<Sequence*> sequences;  // that the scheduler has, in the order they came
};

struct SequenceSpec {
  SequenceId id = 0;
  std::shared_ptr<SequenceGroup> group;  // null: alone. Shared by its sequences and their request
  std::vector<int32_t> prompt;
  SkipSet skip;                    // that it starts with
  std::optional<SkipSet> ceiling;  // a superset: attention may be shed from the top within it
  int asked_full = 0;              // attention sublayers that see all positions, as it was asked for
  SamplingParams sampling;
  int output_index = 0;
  int max_tokens = 1;  // >= 1 and within context and pool; not used when scoring
  int score_from = 0;  // >= 1: only log-probabilities of prompt[score_from...], no token is drawn
  int logprobs = -1;
  int prompt_logprobs = -1;
  std::vector<int32_t> stop_ids;  // end-of-sequence and stop tokens
  std::string cache_salt;         // shares cached prefixes only with equal salts
  std::string tenant;             // whose share it takes, where shares are fair
  int priority = 0;
  Time arrival{};
  Time deadline = kNever;
  Time time_limit = kNever;

  bool scores() const { return score_from > 0; }
};

// kNonFinite: the model's logits were not finite.
enum class SequenceEnd { kNone, kStopToken, kLength, kScored, kNonFinite };

}  // namespace skipstone
