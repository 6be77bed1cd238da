// What the step thread tells the output threads.
#pragma once

#include <memory>
#include <optional>
#include <variant>

#include "absl/status/status.h"
#include "base/clock.h"
#include "engine/engine_observer.h"
#include "engine/live_request.h"
#include "engine/schedule/scheduler.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

// Requests are shared by the step thread (whose sequences name them), the output thread (which runs
// their code) and the table of live ids; whichever lets go last frees them.
using LiveRequestPtr = std::shared_ptr<LiveRequest>;

// The first of its sequences started, with so many tokens from the prefix cache; all start with
// `skip`.
struct Scheduled {
  Time time{};
  int cached_tokens = 0;
  SkipSet skip;
};

// A step that was committed at `time` brought this to one of its outputs.
struct Updated {
  Time time{};
  SequenceUpdate update;
};

// An output ends early, with what it has.
struct OutputEnded {
  int index = 0;
  FinishReason reason = FinishReason::kTimeLimit;
  int preemptions = 0;
};

// The request ends. `outcome` unset: by its outputs' reasons.
struct RequestEnded {
  absl::Status status;
  std::optional<Outcome> outcome;
};

struct OutputEvent {
  LiveRequestPtr request;
  std::variant<Scheduled, Updated, OutputEnded, RequestEnded> what;
};

}  // namespace skipstone
