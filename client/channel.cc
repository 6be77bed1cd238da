#include "client/channel.h"

#include <grpcpp/create_channel.h>

namespace skipstone::client {
namespace {

// A restarted server is found soon, one that is gone is not hammered.
constexpr int kFirstReconnectMs = 100;
constexpr int kMostReconnectMs = 2000;
// gRPC's "minimum reconnect backoff" is how long an attempt to connect may take: handshakes with a
// busy server included, but 20 s, its default, would be spent on an address that swallows packets.
constexpr int kConnectTimeoutMs = 5000;
// gRPC's default of 30 s is longer than a rolling restart that changes every address.
constexpr int kLookUpAgainMs = 2000;
// gRPC's servers by default permit a ping every 5 minutes; the rest is for delays on the way.
constexpr int kKeepaliveMs = 310'000;
constexpr int kKeepaliveTimeoutMs = 10'000;

}  // namespace

grpc::ChannelArguments MakeChannelArguments() {
  grpc::ChannelArguments arguments;
  arguments.SetLoadBalancingPolicyName("round_robin");
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMostReconnectMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, kLookUpAgainMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  // A request may wait in the server's queue in silence: pings go without data too.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  return arguments;
}

std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  return grpc::CreateCustomChannel(
      address, credentials != nullptr ? credentials : grpc::InsecureChannelCredentials(),
      MakeChannelArguments());
}

}  // namespace skipstone::client
