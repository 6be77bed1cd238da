// Reads the events of one GenerateStream call as they come. Made by Client::GenerateStream.
#pragma once

#include <grpcpp/support/sync_stream.h>

#include <memory>

#include "absl/status/status.h"
#include "client/call_attempt.h"
#include "client/endpoint.h"
#include "client/retry.h"
#include "skipstone/v1/inference.grpc.pb.h"

namespace skipstone::client {

// One thread at a time. To end the call from another thread, use CallOptions::cancellation; to
// end it from this one, destroy the stream: the server then frees what the request holds.
class EventStream {
 public:
  // `endpoint` is shared with the Client, which the stream may outlive.
  EventStream(std::shared_ptr<Endpoint> endpoint, v1::GenerateRequest request,
              const CallOptions& options);
  ~EventStream();
  EventStream(const EventStream&) = delete;
  EventStream& operator=(const EventStream&) = delete;

  // Waits for the next event: Accepted, then Deltas, then one Finished per output. Returns false
  // when there is none. Retries as CallOptions::retry says until the first event has come.
  bool Next(v1::GenerateEvent& event);

  // How the call ended, once Next has returned false; before that, kFailedPrecondition.
  const absl::Status& status() const { return status_; }

 private:
  void StartAttempt();

  struct Attempt {
    Attempt(const CallOptions& options, Deadline deadline) : call(options, deadline) {}
    CallAttempt call;
    std::unique_ptr<grpc::ClientReader<v1::GenerateEvent>> reader;
  };

  const std::shared_ptr<Endpoint> endpoint_;
  const v1::GenerateRequest request_;
  const CallOptions options_;
  const Deadline deadline_;
  RetryState retry_;
  std::unique_ptr<Attempt> attempt_;  // null once the call has ended
  bool any_event_ = false;
  absl::Status status_;
};

}  // namespace skipstone::client
