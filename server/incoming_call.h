// A call on its way to what answers it: waits for a thread that reads its request, unless its
// client goes first.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>

#include "server/admission.h"
#include "server/call_guard.h"
#include "server/serving.h"
#include "server/validation_pool.h"

namespace skipstone::server {

// A member of the call's reactor.
class IncomingCall {
 public:
  // Takes the request's bytes, so that they are free once they were read. The rest outlives this.
  IncomingCall(Serving& serving, grpc::CallbackServerContext& context,
               const grpc::ByteBuffer& request);

  // Calls `read` exactly once, on a validation thread with OK, or with what the call ends with
  // (UNAUTHENTICATED, RESOURCE_EXHAUSTED, CANCELLED, DEADLINE_EXCEEDED). The last thing that a
  // reactor's constructor does, since `read` may come before this returns.
  void Start(std::function<void(const absl::Status& status)> read);
  // Of the reactor.
  void OnCancel();

  // Of what the engine did not take.
  grpc::Status Refuse(const absl::Status& status,
                      const QueueMeter::Amount& refused = {.sequences = 1}) {
    return admission_.Refuse(status, &serving_, refused);
  }

  Serving& serving() { return serving_; }
  grpc::CallbackServerContext& context() { return context_; }
  grpc::ByteBuffer& request() { return request_; }
  Admission& admission() { return admission_; }
  CallGuard& guard() { return guard_; }

 private:
  Serving& serving_;
  grpc::CallbackServerContext& context_;
  grpc::ByteBuffer request_;
  Admission admission_;
  CallGuard guard_;
  ValidationPool::Ticket ticket_ = 0;
};

}  // namespace skipstone::server
