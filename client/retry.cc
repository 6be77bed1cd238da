#include "client/retry.h"

#include <algorithm>
#include <cstdint>
#include <thread>

#include "absl/strings/numbers.h"

namespace skipstone::client {
namespace {

// A day bounds what the clock arithmetic of a wait has to hold.
constexpr int64_t kLongestWaitMs = 86'400'000;

}  // namespace

RetryState::RetryState(const CallOptions& options, Deadline deadline)
    : options_(options),
      deadline_(deadline),
      random_(std::random_device()()),
      backoff_ms_(options.retry.initial_backoff.count()) {}

std::optional<std::chrono::milliseconds> RetryState::NextWait(
    const grpc::Status& status, const std::optional<std::string>& pushback) {
  const RetryPolicy& policy = options_.retry;
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE &&
      status.error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED) {
    return std::nullopt;
  }
  if (++failed_attempts_ >= policy.max_attempts) return std::nullopt;
  int64_t wait_ms = 0;
  if (pushback) {
    // gRPC's rule: what cannot be read means "do not retry" like a negative number.
    if (!absl::SimpleAtoi(*pushback, &wait_ms) || wait_ms < 0) return std::nullopt;
    backoff_ms_ = policy.initial_backoff.count();
  } else {
    std::uniform_real_distribution<double> jitter(1 - policy.jitter, 1 + policy.jitter);
    const double max_ms = std::min<double>(policy.max_backoff.count(), kLongestWaitMs);
    wait_ms = static_cast<int64_t>(std::min(backoff_ms_, max_ms) * jitter(random_));
    backoff_ms_ = std::min(backoff_ms_ * policy.multiplier, max_ms);
  }
  // Compared in milliseconds that are left: a pushback of 2^62 must not overflow a time point.
  if (deadline_) {
    const auto left = *deadline_ - std::chrono::system_clock::now();
    if (wait_ms >= std::chrono::duration_cast<std::chrono::milliseconds>(left).count()) {
      return std::nullopt;
    }
  }
  return std::chrono::milliseconds(std::min(wait_ms, kLongestWaitMs));
}

bool RetryState::WaitForNext(grpc::Status& status, const std::optional<std::string>& pushback) {
  const auto wait = NextWait(status, pushback);
  if (!wait) return false;
  if (options_.cancellation == nullptr) {
    std::this_thread::sleep_for(*wait);
    return true;
  }
  if (!options_.cancellation->WaitUntil(std::chrono::system_clock::now() + *wait)) return true;
  status = grpc::Status(grpc::StatusCode::CANCELLED, "cancelled while waiting to retry");
  return false;
}

}  // namespace skipstone::client
