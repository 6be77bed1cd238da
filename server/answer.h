// Calls that are answered from what is at hand, without the engine's steps.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <utility>

#include "absl/strings/str_format.h"
#include "server/incoming_call.h"
#include "server/rpc.h"
#include "server/watched_reactor.h"

namespace skipstone::server {

// Ends a call without reading its request. `Base`: the kind of reactor.
template <class Base>
class RefusedCall : public Base {
 public:
  explicit RefusedCall(const grpc::Status& status) { this->Finish(status); }
  void OnDone() override { delete this; }
};

// A call whose message never came: its stream was reset before, or half closed without one. Which,
// and so how it counts, is known at its end.
template <class Base>
class CallWithoutMessage : public Base {
 public:
  // `metrics`: null if such calls are not counted.
  explicit CallWithoutMessage(Metrics* metrics) : metrics_(metrics) {
    this->Finish(ToGrpc(absl::InvalidArgumentError("the call has no message")));
  }
  void OnCancel() override { cancelled_ = true; }
  void OnDone() override {
    if (metrics_ != nullptr) {
      metrics_->OnRejected({.level = kCustomLevel}, SystemClock().Now() - arrival_,
                           cancelled_ ? Outcome::kCancelled : Outcome::kRejected);
    }
    delete this;
  }

 private:
  Metrics* const metrics_;
  const Time arrival_ = SystemClock().Now();
  bool cancelled_ = false;
};

// Reads the request on a validation thread and answers there.
template <class Request, class Response>
class AnsweredCall : public WatchedUnaryReactor {
 public:
  using Handle = std::function<absl::Status(const Request& request, Response& response)>;

  AnsweredCall(Serving& serving, grpc::CallbackServerContext& context, const grpc::ByteBuffer& in,
               grpc::ByteBuffer& out, Handle handle)
      : WatchedUnaryReactor(context, &serving.stall_watch),
        out_(out),
        handle_(std::move(handle)),
        call_(serving, context, in) {
    call_.Start([this](const absl::Status& status) { Read(status); });
  }

  void OnCancel() override { call_.OnCancel(); }

 private:
  void Read(absl::Status status) {
    // It wants no place in the engine's queue, so none is promised to it.
    if (absl::IsResourceExhausted(status)) {
      call_.admission().AddPushback(status, call_.serving(), {.sequences = 0});
    }
    Request request;
    Response response;
    if (status.ok()) status = Parse(call_.request(), request);
    if (status.ok()) status = handle_(request, response);
    if (status.ok()) out_ = Serialize(response);
    FinishWatched(ToGrpc(status));
  }

  grpc::ByteBuffer& out_;
  const Handle handle_;
  IncomingCall call_;
};

// `handle(request, serving, response)` runs on a validation thread. `serving` is null while the
// model loads; then the call ends with UNAVAILABLE. Reading is allowed while the server drains.
template <class Request, class Response, class Handle>
grpc::ServerUnaryReactor* AnswerRead(Serving* serving, grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* in, grpc::ByteBuffer* out,
                                     Handle handle) {
  using Refused = RefusedCall<grpc::ServerUnaryReactor>;
  if (!in->Valid()) return new CallWithoutMessage<grpc::ServerUnaryReactor>(nullptr);
  if (serving == nullptr) return new Refused(ToGrpc(CheckServing(nullptr)));
  return new AnsweredCall<Request, Response>(
      *serving, *context, *in, *out, [serving, handle](const Request& request, Response& response) {
        return handle(request, *serving, response);
      });
}

// `handle(serving, response)` answers a request that has no fields, at once. `serving` is null
// while the model loads; then the call ends with UNAVAILABLE.
template <class Response, class Handle>
grpc::ServerUnaryReactor* AnswerEmpty(Serving* serving, grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* in, grpc::ByteBuffer* out,
                                      Handle handle) {
  // Of fields that a later revision may add. They are not read.
  constexpr size_t kMaxBytes = 4096;
  absl::Status status;
  if (serving == nullptr) {
    status = absl::UnavailableError("the model is loading");
  } else if (const auto key = KeyOf(*context, *serving->live.current(), serving->metrics);
             !key.ok()) {
    status = key.status();
  } else if (in->Length() > kMaxBytes) {
    status = absl::InvalidArgumentError(
        absl::StrFormat("the request: %d bytes, the limit is %d", in->Length(), kMaxBytes));
  } else {
    Response response;
    handle(*serving, response);
    *out = Serialize(response);
  }
  auto* const reactor =
      new WatchedUnaryReactor(*context, serving == nullptr ? nullptr : &serving->stall_watch);
  reactor->FinishWatched(ToGrpc(status));
  return reactor;
}

}  // namespace skipstone::server
