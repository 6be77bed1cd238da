// A handle that ends calls from another thread: give it in CallOptions, then Cancel() it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>

namespace grpc {
class ClientContext;
}

namespace skipstone::client {

// One handle may serve any number of calls, at once or in turn. Must outlive them. Thread-safe.
class Cancellation {
 public:
  // Calls that run end with CANCELLED, waits before a retry end at once, and calls made later with
  // this handle are cancelled from the start.
  void Cancel();
  bool cancelled() const;

 private:
  friend class CallAttempt;
  friend class RetryState;

  void Attach(grpc::ClientContext& context);
  void Detach(grpc::ClientContext& context);
  // Returns true as soon as cancelled, false when `time` has come.
  bool WaitUntil(std::chrono::system_clock::time_point time);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
  std::set<grpc::ClientContext*> contexts_;  // of attempts that run
};

}  // namespace skipstone::client
