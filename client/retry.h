// Decides whether and when a failed call is tried again. Internal to the library.
#pragma once

#include <chrono>
#include <optional>
#include <random>
#include <string>

#include "client/call_attempt.h"
#include "client/call_options.h"

namespace skipstone::client {

// The retries of one call. The caller asks only while no message has arrived. One thread.
class RetryState {
 public:
  // `options` must outlive this.
  RetryState(const CallOptions& options, Deadline deadline);

  // The wait before the next attempt, or nothing if there shall be none: the code is not one to
  // retry, the attempts are used up, the server said so, or the deadline comes first.
  std::optional<std::chrono::milliseconds> NextWait(const grpc::Status& status,
                                                    const std::optional<std::string>& pushback);

  // Waits before the next attempt. Returns false, at once, if there shall be none; `status` is then
  // what the call ends with (CANCELLED if that happened while waiting).
  bool WaitForNext(grpc::Status& status, const std::optional<std::string>& pushback);

 private:
  const CallOptions& options_;
  const Deadline deadline_;
  std::minstd_rand random_;
  int failed_attempts_ = 0;
  double backoff_ms_;  // before jitter
};

}  // namespace skipstone::client
