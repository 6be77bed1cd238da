// Channels with this project's defaults.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>

namespace skipstone::client {

// `address`: a gRPC target, such as "localhost:50051" or "dns:///skipstone-headless:50051".
// Connects at the first call. Calls are spread over all addresses a name resolves to, and a
// connection that has died while a call waits on it is noticed within 40 s. `credentials` null:
// plaintext.
std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& address,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials = nullptr);

}  // namespace skipstone::client
