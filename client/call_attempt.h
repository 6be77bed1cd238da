// One attempt of a call: a grpc::ClientContext made from CallOptions. Internal to the library.
#pragma once

#include <grpcpp/client_context.h>

#include <chrono>
#include <optional>
#include <string>

#include "client/call_options.h"

namespace skipstone::client {

using Deadline = std::optional<std::chrono::system_clock::time_point>;

// When a call that begins now must have ended.
Deadline DeadlineOf(const CallOptions& options);

// Registered with the options' Cancellation, which must outlive it, for as long as it exists. The
// options must be valid.
class CallAttempt {
 public:
  CallAttempt(const CallOptions& options, Deadline deadline);
  ~CallAttempt();
  CallAttempt(const CallAttempt&) = delete;
  CallAttempt& operator=(const CallAttempt&) = delete;

  grpc::ClientContext& context() { return context_; }
  // What the server sent as `grpc-retry-pushback-ms`. Only once the call has ended.
  std::optional<std::string> Pushback() const;

 private:
  grpc::ClientContext context_;
  Cancellation* cancellation_;
};

}  // namespace skipstone::client
