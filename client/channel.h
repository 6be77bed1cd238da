// Channels with this project's defaults.
//
//   grpc::ChannelArguments own;  // for a channel of your own
//   own.SetLoadBalancingPolicyName("pick_first");
//   Client client(grpc::CreateCustomChannel(address, credentials, MakeChannelArguments(own)));
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <memory>
#include <string>

namespace skipstone::client {

// The largest answer that can be received. A server's Score answer has at most 64 MiB; gRPC's own
// limit, which a channel made without MakeChannelArguments has, is 4 MiB.
inline constexpr int kMaxReceiveBytes = 80 << 20;
// The largest request that a server takes. The client refuses a larger one without sending it.
inline constexpr size_t kMaxRequestBytes = 4 << 20;

// - Calls are spread over all addresses a name resolves to (round_robin).
// - A connection that is lost or refused is tried again after 100 ms, growing to 2 s, and a name
//   whose addresses fail is looked up again every 2 s.
// - A connection is pinged only while a call is open, after 310 s of silence: servers commonly end
//   one that is pinged between calls or more often than every 5 minutes. Skipstone permits more:
//   GRPC_ARG_KEEPALIVE_TIME_MS of 30'000 notices within 40 s that the server's host is gone.
// - Answers have up to kMaxReceiveBytes.
// `own` wins where it says otherwise.
grpc::ChannelArguments MakeChannelArguments(grpc::ChannelArguments own = {});

// `address`: a gRPC target, such as "localhost:50051" or "dns:///skipstone-headless:50051".
// Connects at the first call. `credentials` null: plaintext.
std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& address,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials = nullptr);

}  // namespace skipstone::client
