// The link from a call to its live requests in the engine: cancels them when the client goes, and
// never another call's request that has the same id.
#pragma once

#include <string>
#include <vector>

#include "engine/base/mutex.h"
#include "engine/engine.h"

namespace skipstone::server {

// Thread-safe.
class CallGuard {
 public:
  // Call before Submit.
  void Arm(Engine& engine, std::vector<std::string> request_ids, Time deadline);
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
  std::vector<std::string> request_ids_ ABSL_GUARDED_BY(mutex_);
  Time deadline_ ABSL_GUARDED_BY(mutex_) = kNever;
};

}  // namespace skipstone::server
