#include "server/call_guard.h"

#include <utility>

namespace skipstone::server {

absl::Status CallGuard::Check() const {
  MutexLock lock(mutex_);
  return Gone();
}

absl::Status CallGuard::Gone() const {
  if (late_ || SystemClock().Now() >= deadline_) {
    return absl::DeadlineExceededError("the request's deadline has passed before it was queued");
  }
  return cancelled_ ? absl::CancelledError("cancelled") : absl::OkStatus();
}

absl::Status CallGuard::Submit(Engine& engine, EngineRequest request,
                               std::unique_ptr<RequestSink> sink) {
  std::string id = request.id;
  const uint64_t call = request.call;
  // Over both, so that a cancellation finds the request in the engine, or keeps it out.
  MutexLock lock(mutex_);
  absl::Status status = Gone();
  if (status.ok()) status = engine.Submit(std::move(request), std::move(sink));
  if (!status.ok()) return status;
  engine_ = &engine;
  request_id_ = std::move(id);
  call_ = call;
  return status;
}

void CallGuard::Disarm() {
  MutexLock lock(mutex_);
  engine_ = nullptr;
}

void CallGuard::Withdraw() {
  MutexLock lock(mutex_);
  Cancel(Engine::CancelReason::kClientGone);
}

void CallGuard::OnCancel() {
  // A client's own timer fires by the network's delay before the server's.
  constexpr Duration kTransit = std::chrono::milliseconds(50);
  MutexLock lock(mutex_);
  cancelled_ = true;
  late_ = deadline_ != kNever && SystemClock().Now() + kTransit >= deadline_;
  Cancel(late_ ? Engine::CancelReason::kDeadline : Engine::CancelReason::kClientGone);
}

void CallGuard::OnStall() {
  MutexLock lock(mutex_);
  Cancel(Engine::CancelReason::kStreamStalled);
}

void CallGuard::Cancel(Engine::CancelReason reason) {
  if (engine_ != nullptr) engine_->Cancel(request_id_, reason, call_);
}

}  // namespace skipstone::server
