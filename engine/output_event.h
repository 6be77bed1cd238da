// What the step thread tells the output threads.
#pragma once

#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "base/clock.h"
#include "engine/engine_observer.h"
#include "engine/live_request.h"
#include "engine/schedule/scheduler.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

// Requests are shared by the step thread (which names them), the output thread (which runs their
// code) and the table of live ids; whichever lets go last frees them.
using LiveRequestPtr = std::shared_ptr<LiveRequest>;

struct OutputEvent {
  enum class Kind { kScheduled, kUpdate, kEndOutput, kDone };
  Kind kind = Kind::kScheduled;
  LiveRequestPtr request;
  int index = 0;
  Time time{};
  int cached_tokens = 0;                           // kScheduled
  SkipSet skip;                                    // kScheduled
  SequenceUpdate update;                           // kUpdate
  FinishReason reason = FinishReason::kTimeLimit;  // kEndOutput
  int preemptions = 0;                             // kEndOutput
  absl::Status status;                             // kDone
  std::optional<Outcome> outcome;                  // kDone
};

}  // namespace skipstone
