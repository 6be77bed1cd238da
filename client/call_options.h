// How one call is made: its deadline, metadata, retries and the handle that cancels it.
//
//   CallOptions options;
//   options.timeout = std::chrono::seconds(2);
//   options.metadata = {{"x-user-id", "42"}};
//   options.retry.max_attempts = 1;  // no retry
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/cancellation.h"

namespace skipstone::client {

// UNAVAILABLE and RESOURCE_EXHAUSTED are retried, as long as nothing of the answer has arrived.
// The wait before attempt i + 1 is min(initial_backoff * multiplier^(i - 1), max_backoff), drawn
// anew from +-jitter around it, unless the server names one in `grpc-retry-pushback-ms` (negative:
// do not retry).
struct RetryPolicy {
  int max_attempts = 4;  // in all, >= 1
  std::chrono::milliseconds initial_backoff{50};
  std::chrono::milliseconds max_backoff{5000};
  double multiplier = 2.0;
  double jitter = 0.2;  // 0 to 1
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
