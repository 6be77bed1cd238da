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
  if (engine_ == nullptr) return;
  const bool late = deadline_ != kNever && SystemClock().Now() + kTransit >= deadline_;
  for (const std::string& id : request_ids_) {
    engine_->Cancel(id, late ? Engine::CancelReason::kDeadline : Engine::CancelReason::kClientGone);
  }
}

}  // namespace skipstone::server
