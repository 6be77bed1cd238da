#include "client/retry.h"

#include <algorithm>
#include <cstdint>
#include <thread>

#include "absl/strings/numbers.h"

namespace skipstone::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::system_clock;

// A day bounds what the clock arithmetic of a wait has to hold.
constexpr int64_t kLongestWaitMs = 86'400'000;
// Over the time a server names, unless that jitter would be too small to part anybody.
constexpr int64_t kPushbackJitterDivisor = 4;
constexpr int64_t kLeastPushbackJitterMs = 25;

}  // namespace

void RetryBudget::CallSucceeded() {
  std::lock_guard lock(mutex_);
  tenths_ = std::min(tenths_ + 1, kMaxTenths);
}

void RetryBudget::RetryFailed() {
  std::lock_guard lock(mutex_);
  tenths_ = std::max(tenths_ - 10, 0);
}

bool RetryBudget::exhausted() const {
  std::lock_guard lock(mutex_);
  return tenths_ <= kMaxTenths / 2;
}

RetryState::RetryState(const CallOptions& options, Deadline deadline, RetryBudget& budget)
    : options_(options),
      give_up_(deadline.value_or(system_clock::now() + std::min(options.retry.without_deadline,
                                                                milliseconds(kLongestWaitMs)))),
      budget_(budget),
      random_(std::random_device()()),
      backoff_ms_(options.retry.initial_backoff.count()) {}

bool RetryState::MayRetry(grpc::StatusCode code, bool has_pushback, bool connected) {
  // A server of gRPC answers CANCELLED to calls that come between its shutdown and the client's
  // knowing of it.
  const bool given_up = code == grpc::StatusCode::CANCELLED &&
                        (options_.cancellation == nullptr || !options_.cancellation->cancelled());
  const bool unavailable = code == grpc::StatusCode::UNAVAILABLE || given_up;
  // Without the header it is no full queue but a limit, which the same request meets again.
  if (!unavailable && !(code == grpc::StatusCode::RESOURCE_EXHAUSTED && has_pushback)) return false;
  if (unavailable && connected) {
    if (failed_attempts_ > 0) budget_.RetryFailed();
    if (budget_.exhausted()) return false;
  }
  return ++failed_attempts_ < options_.retry.max_attempts;
}

int64_t RetryState::BackoffMs() {
  const RetryPolicy& policy = options_.retry;
  const double max_ms = std::min<double>(policy.max_backoff.count(), kLongestWaitMs);
  std::uniform_real_distribution<double> share(1 - policy.jitter, 1);
  const auto wait_ms = static_cast<int64_t>(std::min(backoff_ms_, max_ms) * share(random_));
  backoff_ms_ = std::min(backoff_ms_ * policy.multiplier, max_ms);
  return wait_ms;
}

int64_t RetryState::PushbackMs(int64_t named_ms) {
  named_ms = std::min(named_ms, kLongestWaitMs);
  const int64_t most = std::max(named_ms / kPushbackJitterDivisor, kLeastPushbackJitterMs);
  std::uniform_real_distribution<double> jitter(0, options_.retry.jitter * most);
  backoff_ms_ = options_.retry.initial_backoff.count();
  return named_ms + static_cast<int64_t>(jitter(random_));
}

std::optional<milliseconds> RetryState::NextWait(const grpc::Status& status,
                                                 const std::optional<std::string>& pushback,
                                                 bool connected) {
  if (!MayRetry(status.error_code(), pushback.has_value(), connected)) return std::nullopt;
  int64_t named_ms = 0;
  // gRPC's rule: what cannot be read means "do not retry" like a negative number.
  if (pushback && (!absl::SimpleAtoi(*pushback, &named_ms) || named_ms < 0)) return std::nullopt;
  // Compared in milliseconds that are left: a pushback of 2^62 must not overflow a time point.
  const auto left = std::chrono::duration_cast<milliseconds>(give_up_ - system_clock::now());
  if (named_ms >= left.count()) return std::nullopt;
  const milliseconds wait(pushback ? PushbackMs(named_ms) : BackoffMs());
  return wait < left ? std::optional(wait) : std::nullopt;
}

bool RetryState::WaitUntil(system_clock::time_point time) {
  if (options_.cancellation != nullptr) return options_.cancellation->WaitUntil(time);
  std::this_thread::sleep_until(time);
  return false;
}

// gRPC's library has no thread of its own that finds out how an attempt to connect went: only
// those who wait for something do.
bool RetryState::ConnectUntil(system_clock::time_point time, grpc::Channel& channel) {
  constexpr milliseconds kSlice(50);  // between looks at the cancellation
  while (system_clock::now() < time) {
    if (channel.WaitForConnected(std::min(time, system_clock::now() + kSlice))) break;
    if (options_.cancellation != nullptr && options_.cancellation->cancelled()) return true;
  }
  return WaitUntil(time);
}

bool RetryState::WaitForNext(grpc::Status& status, const std::optional<std::string>& pushback,
                             grpc::Channel& channel) {
  const bool connected = channel.GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
  const auto wait = NextWait(status, pushback, connected);
  if (!wait) return false;
  const auto time = system_clock::now() + *wait;
  if (!(connected ? WaitUntil(time) : ConnectUntil(time, channel))) return true;
  status = grpc::Status(grpc::StatusCode::CANCELLED, "cancelled while waiting to retry");
  return false;
}

}  // namespace skipstone::client
