// The bytes that a streamed generate call speaks in.
#pragma once

#include <grpcpp/grpcpp.h>

#include <optional>

#include "absl/status/statusor.h"
#include "server/rpc.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::server {

// Our own, skipstone.v1; others inherit. One per call: first Read, on one thread, then Write, on
// one at a time.
class GenerateDialect {
 public:
  virtual ~GenerateDialect() = default;

  // Leaves `bytes` empty. INVALID_ARGUMENT.
  virtual absl::StatusOr<v1::GenerateRequest> Read(grpc::ByteBuffer& bytes) {
    v1::GenerateRequest request;
    SKIPSTONE_RETURN_IF_ERROR(Parse(bytes, request));
    return request;
  }
  // What is sent of an event; nothing: it waits for later ones.
  virtual std::optional<grpc::ByteBuffer> Write(v1::GenerateEvent& event) {
    return Serialize(event);
  }
  // All of an output is one message, which must not become too large.
  virtual bool answers_at_once() const { return false; }
};

}  // namespace skipstone::server
