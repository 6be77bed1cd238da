// The link from a call to its live requests in the engine: cancels them when the client goes, and
// never those of another call that has the same id.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "engine/engine.h"

namespace skipstone::server {

// Thread-safe.
class CallGuard {
 public:
  explicit CallGuard(Time deadline) : deadline_(deadline) {}

  // OK as long as the client waits; CANCELLED; DEADLINE_EXCEEDED.
  absl::Status Check() const;
  // Engine::Submit, unless the client has gone. All requests that it is given are of one call (its
  // id and number). The sink may Disarm, which waits for this.
  absl::Status Submit(Engine& engine, EngineRequest request, std::unique_ptr<RequestSink> sink);
  // The requests ended.
  void Disarm();
  // Ends what was submitted: another request of the call was refused.
  void Withdraw();
  // The client does not read.
  void OnStall();
  // The client cancelled, broke the connection, or its deadline passed.
  void OnCancel();

 private:
  absl::Status Gone() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Cancel(Engine::CancelReason reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Time deadline_;
  mutable Mutex mutex_;
  Engine* engine_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::string request_id_ ABSL_GUARDED_BY(mutex_);
  uint64_t call_ ABSL_GUARDED_BY(mutex_) = 0;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool late_ ABSL_GUARDED_BY(mutex_) = false;  // with cancelled_: because of the deadline
};

}  // namespace skipstone::server
