#include "engine/request.h"

#include "engine/engine_observer.h"

namespace skipstone {

const char* NameOf(FinishReason reason) {
  static const char* const kNames[] = {"stop",         "stop_string", "max_tokens",
                                       "context_full", "time_limit",  "aborted"};
  return kNames[static_cast<int>(reason)];
}

const char* NameOf(Outcome outcome) {
  static const char* const kNames[] = {"ok",         "cancelled", "aborted", "deadline",
                                       "time_limit", "rejected",  "error"};
  return kNames[static_cast<int>(outcome)];
}

}  // namespace skipstone
