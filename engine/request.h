// What the engine is asked for and what it answers: plain values, already validated against the
// model by ValidateRequest (request_limits.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/base/sampling.h"
#include "engine/skip/applied_range.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

struct StoppingParams {
  std::optional<int> max_tokens;  // unset: until the context or the pool is full
  int min_tokens = 0;
  std::vector<std::string> stop_strings;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  bool include_stop = false;
  std::optional<Duration> time_limit;  // from arrival
};

struct OutputParams {
  int logprobs = -1;         // alternatives per generated token; -1: no log-probabilities
  int prompt_logprobs = -1;  // the same for prompt tokens
};

// Handed to the observer as they are; the engine reads none of them.
struct RequestLabels {
  std::string level;  // requested level, or "custom"
  std::string arm;    // "experiment/arm", or empty
};

struct EngineRequest {
  std::string id;  // unique among live calls
  // The call that it is part of: the requests of one call share its id, and end together by it.
  uint64_t call = 0;
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

enum class FinishReason { kStop, kStopString, kMaxTokens, kContextFull, kTimeLimit, kAborted };

// Stable names: "stop", "stop_string", "max_tokens", "context_full", "time_limit", "aborted".
const char* NameOf(FinishReason reason);

struct TokenText {
  int32_t id = 0;
  std::optional<float> logprob;
  std::string text;
};

struct GeneratedToken {
  TokenText token;
  std::vector<TokenText> top;  // likeliest first
};

struct AcceptedInfo {
  int prompt_tokens = 0;
  int cached_prompt_tokens = 0;
  SkipSet skip;  // what it starts with: the request's, or its ceiling under load
};

struct OutputDelta {
  int index = 0;
  std::string text;
  std::vector<GeneratedToken> tokens;
  std::vector<GeneratedToken> prompt_tokens;
};

// Intervals of SEMANTICS "Intervals and attribution".
struct RequestTiming {
  Duration queue{};
  Duration prefill{};
  Duration decode{};
  Duration ttft{};
  Duration e2e{};
  Duration attributed{};
  int preemptions = 0;
};

struct OutputFinished {
  int index = 0;
  FinishReason reason = FinishReason::kStop;
  std::optional<int32_t> stop_token;       // with kStop
  std::optional<std::string> stop_string;  // with kStopString
  int prompt_tokens = 0;
  int completion_tokens = 0;
  int cached_prompt_tokens = 0;
  int64_t kv_pages_used = 0;
  int64_t kv_pages_omitted = 0;
  // Empty unless layers were shed: then the set it started with, and each set after it. Pages are
  // counted under the last one.
  std::vector<AppliedRange> applied;
  RequestTiming timing;
};

// Receives one request's events. Called on the engine's output thread, in this order: OnAccepted,
// OnDelta..., OnFinished once per output, OnDone. After a failure OnDone comes at once. Calls must
// not block: a slow reader queues.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  virtual void OnAccepted(const AcceptedInfo& accepted) = 0;
  virtual void OnDelta(OutputDelta delta) = 0;
  virtual void OnFinished(const OutputFinished& finished) = 0;
  // The last call; the engine drops the sink after it. OK if every output finished; CANCELLED,
  // DEADLINE_EXCEEDED, UNAVAILABLE (drain), INTERNAL (device) otherwise.
  virtual void OnDone(const absl::Status& status) = 0;
};

}  // namespace skipstone
