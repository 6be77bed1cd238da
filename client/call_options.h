// How one call is made: its deadline, metadata, retries and the handle that cancels it.
//
//   CallOptions options;
//   options.timeout = std::chrono::seconds(2);
//   options.metadata = {{"x-user-id", "42"}};
//   options.retry.max_attempts = 1;  // no retry
#pragma once

#include <chrono>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/cancellation.h"

namespace skipstone::client {

// Tried again as long as nothing of the answer has arrived: UNAVAILABLE, CANCELLED that nobody here
// asked for, and RESOURCE_EXHAUSTED where the server says when. A retry begins before the call's
// deadline, or within `without_deadline` where it has none; one that would begin later ends the
// call at once with the last status. The wait before attempt i + 1 is drawn anew from [(1 - jitter)
// b, b], where b = min(initial_backoff * multiplier^(i - 1), max_backoff). A server may name it
// instead, in `grpc-retry-pushback-ms` (negative: do not retry); up to a quarter of it, times
// jitter, is added. The calls of one client share a budget of retries, so that a server that fails
// is not flooded.
struct RetryPolicy {
  int max_attempts = std::numeric_limits<int>::max();  // in all, >= 1; 1: no retry
  std::chrono::milliseconds without_deadline{10'000};  // at most a day
  std::chrono::milliseconds initial_backoff{100};
  std::chrono::milliseconds max_backoff{2000};
  double multiplier = 2.0;
  double jitter = 1.0;  // 0 to 1
};

struct CallOptions {
  // From the call to its end, over all attempts; unset: no deadline. The server sees it too, and
  // stops working for a request whose deadline has passed.
  std::optional<std::chrono::milliseconds> timeout;
  // Keys in lower case; values of printable ASCII, or of any bytes where the key ends in "-bin".
  std::vector<std::pair<std::string, std::string>> metadata;
  Cancellation* cancellation = nullptr;
  RetryPolicy retry;
  bool wait_for_ready = false;  // wait for a connection instead of failing with UNAVAILABLE
};

// INVALID_ARGUMENT naming the metadata that gRPC cannot send. Each call checks; gRPC itself would
// end the process.
absl::Status Validate(const CallOptions& options);

}  // namespace skipstone::client
