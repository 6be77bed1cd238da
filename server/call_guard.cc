#include "server/call_guard.h"

#include <utility>

namespace skipstone::server {

void CallGuard::Arm(Engine& engine, std::vector<std::string> request_ids, Time deadline) {
  MutexLock lock(mutex_);
  engine_ = &engine;
  request_ids_ = std::move(request_ids);
  deadline_ = deadline;
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
  if (engine_ == nullptr) return;
  for (const std::string& id : request_ids_) engine_->Cancel(id, reason);
}

}  // namespace skipstone::server
