// Helpers of the RPC handlers. Requests arrive as bytes and are parsed here, because gRPC answers
// one that does not parse (a string that is not UTF-8) with UNIMPLEMENTED and no message.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "server/watched_reactor.h"

namespace skipstone::server {

grpc::Status ToGrpc(const absl::Status& status);

template <class Message>
absl::Status Parse(const grpc::ByteBuffer& bytes, Message& message) {
  grpc::ByteBuffer copy(bytes);  // of references to the slices
  if (grpc::SerializationTraits<Message>::Deserialize(&copy, &message).ok()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "the request does not parse: a malformed field, or a string that is not UTF-8");
}

template <class Message>
grpc::ByteBuffer Serialize(const Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  grpc::SerializationTraits<Message>::Serialize(message, &bytes, &own);
  return bytes;
}

// Answers a call at once: `handle(request, response)` returns an absl::Status. `reactor`: of the
// call.
template <class Request, class Response, class Handler>
grpc::ServerUnaryReactor* Answer(WatchedUnaryReactor* reactor, const grpc::ByteBuffer* in,
                                 grpc::ByteBuffer* out, Handler handle) {
  Request request;
  Response response;
  absl::Status status = Parse(*in, request);
  if (status.ok()) status = handle(request, response);
  if (status.ok()) *out = Serialize(response);
  reactor->FinishWatched(ToGrpc(status));
  return reactor;
}

// Tells the client the id of its call. Only of calls that were taken: gRPC's clients never retry
// one that began to answer, and headers of our own would begin the answer of a refusal.
void AddRequestId(grpc::ServerContextBase& context, const std::string& request_id);
// The call's deadline on the engine's clock; kNever if it has none.
Time DeadlineOf(const grpc::ServerContextBase& context);
// Printable ASCII: any other byte in a metadata value makes gRPC end the process.
bool IsMetadataText(const std::string& text);
// The first value of a metadata key (lower case), nullopt if there is none.
std::optional<std::string> MetadataOf(const grpc::ServerContextBase& context,
                                      const std::string& key);

}  // namespace skipstone::server
