// Generate and GenerateStream: one object per call, between its output thread of the engine and
// gRPC.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "server/generate_dialect.h"
#include "server/serving.h"

namespace skipstone::server {

// `serving` is null while the model loads. The reactors own themselves.
grpc::ServerUnaryReactor* StartGenerate(Serving* serving, grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response);
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartGenerateStream(
    Serving* serving, grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    std::unique_ptr<GenerateDialect> dialect = std::make_unique<GenerateDialect>());

}  // namespace skipstone::server
