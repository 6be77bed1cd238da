#include "client/cancellation.h"

#include <grpcpp/client_context.h>

namespace skipstone::client {

void Cancellation::Cancel() {
  std::lock_guard lock(mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : contexts_) context->TryCancel();
  changed_.notify_all();
}

bool Cancellation::cancelled() const {
  std::lock_guard lock(mutex_);
  return cancelled_;
}

void Cancellation::Attach(grpc::ClientContext& context) {
  std::lock_guard lock(mutex_);
  contexts_.insert(&context);
  if (cancelled_) context.TryCancel();
}

void Cancellation::Detach(grpc::ClientContext& context) {
  std::lock_guard lock(mutex_);
  contexts_.erase(&context);
}

bool Cancellation::WaitUntil(std::chrono::system_clock::time_point time) {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, time, [this] { return cancelled_; });
}

}  // namespace skipstone::client
