// The link from a call to its live requests in the engine: cancels them when the client goes, and
// never those of another call that has the same id.
#pragma once

#include <cstdint>
#include <string>

#include "engine/base/mutex.h"
#include "engine/engine.h"

namespace skipstone::server {

// Thread-safe.
class CallGuard {
 public:
  // Call before Submit.
  void Arm(Engine& engine, const EngineRequest& request);
  // The requests ended, or were refused.
  void Disarm();
  // The client does not read.
  void OnStall();
  // The client cancelled, broke the connection, or its deadline passed.
  void OnCancel();

 private:
  void Cancel(Engine::CancelReason reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  Engine* engine_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::string request_id_ ABSL_GUARDED_BY(mutex_);
  uint64_t call_ ABSL_GUARDED_BY(mutex_) = 0;
  Time deadline_ ABSL_GUARDED_BY(mutex_) = kNever;
};

}  // namespace skipstone::server
