#include "client/call_attempt.h"

#include <algorithm>

namespace skipstone::client {
namespace {

// The clock counts nanoseconds in 64 bits, which end in the year 2262.
constexpr std::chrono::hours kLongestTimeout(100 * 365 * 24);

}  // namespace

Deadline DeadlineOf(const CallOptions& options) {
  if (!options.timeout || *options.timeout > kLongestTimeout) return std::nullopt;
  return std::chrono::system_clock::now() +
         std::max<std::chrono::milliseconds>(*options.timeout, -kLongestTimeout);
}

CallAttempt::CallAttempt(const CallOptions& options, Deadline deadline)
    : cancellation_(options.cancellation) {
  if (deadline) context_.set_deadline(*deadline);
  context_.set_wait_for_ready(options.wait_for_ready);
  for (const auto& [key, value] : options.metadata) context_.AddMetadata(key, value);
  if (cancellation_ != nullptr) cancellation_->Attach(context_);
}

CallAttempt::~CallAttempt() {
  if (cancellation_ != nullptr) cancellation_->Detach(context_);
}

std::optional<std::string> CallAttempt::Pushback() const {
  const auto& trailing = context_.GetServerTrailingMetadata();
  const auto it = trailing.find("grpc-retry-pushback-ms");
  if (it == trailing.end()) return std::nullopt;
  return std::string(it->second.data(), it->second.size());
}

}  // namespace skipstone::client
