// Decides whether and when a failed call is tried again. Internal to the library.
#pragma once

#include <grpcpp/channel.h>

#include <chrono>
#include <mutex>
#include <optional>
#include <random>
#include <string>

#include "client/call_attempt.h"
#include "client/call_options.h"

namespace skipstone::client {

// Bounds what the retries of all calls of a client add to the load of a server that answers and
// fails: the token bucket of gRPC's retry throttling (proposal A6). A retry that fails on a live
// connection takes a token, a call that succeeds brings a tenth of one, and while half of them or
// less are left nothing is retried. Tries without a connection reach no server and are free, and so
// are refusals that name a time. Thread-safe.
class RetryBudget {
 public:
  void CallSucceeded();
  void RetryFailed();
  bool exhausted() const;

 private:
  // 50 retries in a row: more than a restart costs, less than a server notices.
  static constexpr int kMaxTenths = 1000;

  mutable std::mutex mutex_;
  int tenths_ = kMaxTenths;  // of tokens
};

// The retries of one call. The caller asks only while no message has arrived. One thread.
class RetryState {
 public:
  // `options` and `budget` must outlive this.
  RetryState(const CallOptions& options, Deadline deadline, RetryBudget& budget);

  // The wait before the next attempt, or nothing if there shall be none: the code is not one to
  // retry, the attempts or the budget are used up, the server said so, or the time is up before.
  // `connected`: the channel has a connection.
  std::optional<std::chrono::milliseconds> NextWait(const grpc::Status& status,
                                                    const std::optional<std::string>& pushback,
                                                    bool connected);

  // Waits before the next attempt on `channel`. Returns false, at once, if there shall be none;
  // `status` is then what the call ends with (CANCELLED if that happened while waiting).
  bool WaitForNext(grpc::Status& status, const std::optional<std::string>& pushback,
                   grpc::Channel& channel);

 private:
  bool MayRetry(grpc::StatusCode code, bool has_pushback, bool connected);
  // Drawn from [(1 - jitter) b, b] for the backoff b, which then grows.
  int64_t BackoffMs();
  // At the time that the server named or a little later, so that those refused together come apart.
  int64_t PushbackMs(int64_t named_ms);
  // Returns whether the caller cancelled.
  bool WaitUntil(std::chrono::system_clock::time_point time);
  // The same, and lets gRPC get on with a connection meanwhile.
  bool ConnectUntil(std::chrono::system_clock::time_point time, grpc::Channel& channel);

  const CallOptions& options_;
  const std::chrono::system_clock::time_point give_up_;
  RetryBudget& budget_;
  std::minstd_rand random_;
  int failed_attempts_ = 0;
  double backoff_ms_;  // before jitter
};

}  // namespace skipstone::client
