// What the engine answers to a request: plain values, and who receives them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

enum class FinishReason { kStop, kStopString, kMaxTokens, kContextFull, kTimeLimit, kAborted };

// Stable names: "stop", "stop_string", "max_tokens", "context_full", "time_limit", "aborted".
const char* NameOf(FinishReason reason);

// How a request ended, as the `outcome` label has it.
enum class Outcome { kOk, kCancelled, kAborted, kDeadline, kTimeLimit, kRejected, kError };

// "ok", "cancelled", "aborted", "deadline", "time_limit", "rejected", "error".
const char* NameOf(Outcome outcome);

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
  int64_t kv_pages_windowed = 0;  // of kept layers, that their windows did not need
  int64_t kv_pages_omitted = 0;
  // Empty unless layers were shed: then the set it started with, and each set after it. Pages are
  // counted under the last one.
  std::vector<AppliedRange> applied;
  RequestTiming timing;
};

// What a request came to, over all its outputs, however it ended.
struct RequestTotals {
  Outcome outcome = Outcome::kOk;
  RequestTiming timing;  // queue: all its time, if it never was scheduled
  bool first_token = false;
  int prompt_tokens = 0;
  int completion_tokens = 0;
  int outputs = 0;  // that drew a token
  int64_t kv_pages_used = 0;
  int64_t kv_pages_omitted = 0;
  double kv_page_seconds = 0;  // pages held, times the time of the steps meanwhile
};

// Mean time between the tokens of an output; nothing where there is but one.
inline std::optional<Duration> MeanInterTokenLatency(Duration decode, int completion_tokens,
                                                     int outputs) {
  const int per_output = completion_tokens / std::max(1, outputs);
  if (per_output <= 1) return std::nullopt;
  return decode / (per_output - 1);
}

// Receives one request's events. Called on an output thread of the engine, the same for all
// requests of a call, in this order: OnAccepted, OnDelta..., OnFinished once per output, OnDone.
// After a failure OnDone comes at once. Calls must not block: a slow reader queues.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  virtual void OnAccepted(const AcceptedInfo& accepted) = 0;
  virtual void OnDelta(OutputDelta delta) = 0;
  virtual void OnFinished(const OutputFinished& finished) = 0;
  // The last call; the engine drops the sink after it. OK if every output finished; CANCELLED,
  // DEADLINE_EXCEEDED, UNAVAILABLE (drain), INTERNAL (device) otherwise.
  virtual void OnDone(const absl::Status& status, const RequestTotals& totals) = 0;
};

}  // namespace skipstone
