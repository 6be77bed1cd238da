// Score: each item is a request of its own, so that they share steps; the call ends with the last.
#pragma once

#include <grpcpp/grpcpp.h>

#include "server/serving.h"

namespace skipstone::server {

// `serving` is null while the model loads. The reactor owns itself.
grpc::ServerUnaryReactor* StartScore(Serving* serving, grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response);

}  // namespace skipstone::server
