// What the engine is asked for: plain values, already validated against the model by
// ValidateRequest (request_limits.h). What it answers stands in request_sink.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/request_fields.h"
#include "engine/request_sink.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

// Handed to the observer as they are; the engine reads none of them.
struct RequestLabels {
  std::string level;  // requested level, or "custom"
  std::string arm;    // "experiment/arm", or empty
};

struct EngineRequest {
  std::string id;  // unique among live calls
  // The call that it is part of: the requests of one call share its id, end together by it, and one
  // output thread calls all their sinks.
  uint64_t call = 0;
  // More requests of the call follow: its id stays taken until one without this, or Cancel.
  bool more_follow = false;
  std::string owner;  // who may end it by its id, where only owners may
  std::vector<int32_t> prompt;
  SkipSet skip;
  // A superset of `skip`: under load the scheduler may skip up to this much, at admission
  // (brown-out) or later (shedding). Unset: `skip` is what runs.
  std::optional<SkipSet> ceiling;
  SamplingParams sampling;  // min_tokens and suppressed_ids are set by the engine
  StoppingParams stopping;
  OutputParams output;
  int n = 1;
  int priority = 0;        // one more outweighs 30 s of waiting
  std::string cache_salt;  // shares cached prefixes only with equal salts
  std::string tenant;      // whose share of the tokens it takes, where shares are fair
  Time arrival{};
  Time deadline = kNever;
  // >= 1: nothing is sampled; the log-probabilities of prompt[score_from...] are delivered as
  // prompt tokens (top-n: output.prompt_logprobs). 0: an ordinary request.
  int score_from = 0;
  RequestLabels labels;
};

}  // namespace skipstone
