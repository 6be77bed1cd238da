// Helpers of the RPC handlers. Requests arrive as bytes and are parsed here, because gRPC answers
// one that does not parse (a string that is not UTF-8) with UNIMPLEMENTED and no message.
#pragma once

#include <google/protobuf/descriptor.h>
#include <grpcpp/grpcpp.h>
#if __has_include(<grpcpp/impl/proto_utils.h>)
#include <grpcpp/impl/proto_utils.h>
#else  // before gRPC 1.52
#include <grpcpp/impl/codegen/proto_utils.h>
#endif

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/status.h"

namespace skipstone::server {

grpc::Status ToGrpc(const absl::Status& status);

// INVALID_ARGUMENT for a request of more messages and strings than any that is served has: each of
// its bytes would cost a hundred of memory. What is malformed passes.
absl::Status CheckObjects(const grpc::ByteBuffer& bytes, const google::protobuf::Descriptor& type);

// Leaves `bytes` empty.
template <class Message>
absl::Status Parse(grpc::ByteBuffer& bytes, Message& message) {
  SKIPSTONE_RETURN_IF_ERROR(CheckObjects(bytes, *Message::descriptor()));
  if (grpc::SerializationTraits<Message>::Deserialize(&bytes, &message).ok()) {
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
