#include "server/call_guard.h"

namespace skipstone::server {

void CallGuard::Arm(Engine& engine, const EngineRequest& request) {
  MutexLock lock(mutex_);
  engine_ = &engine;
  request_id_ = request.id;
  call_ = request.call;
  deadline_ = request.deadline;
}

void CallGuard::Disarm() {
  MutexLock lock(mutex_);
  engine_ = nullptr;
}

void CallGuard::OnCancel() {
  // A client's own timer fires by the network's delay before the server's.
  constexpr Duration kTransit = std::chrono::milliseconds(50);
  MutexLock lock(mutex_);
  const bool late = deadline_ != kNever && SystemClock().Now() + kTransit >= deadline_;
  Cancel(late ? Engine::CancelReason::kDeadline : Engine::CancelReason::kClientGone);
}

void CallGuard::OnStall() {
  MutexLock lock(mutex_);
  Cancel(Engine::CancelReason::kStreamStalled);
}

void CallGuard::Cancel(Engine::CancelReason reason) {
  if (engine_ != nullptr) engine_->Cancel(request_id_, reason, call_);
}

}  // namespace skipstone::server
