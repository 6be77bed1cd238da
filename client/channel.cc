#include "client/channel.h"

#include <grpcpp/create_channel.h>

#include <algorithm>
#include <utility>

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

bool Has(const grpc::ChannelArguments& arguments, const std::string& key) {
  const grpc_channel_args args = arguments.c_channel_args();
  return std::any_of(args.args, args.args + args.num_args,
                     [&](const grpc_arg& arg) { return arg.key == key; });
}

}  // namespace

grpc::ChannelArguments MakeChannelArguments(grpc::ChannelArguments own) {
  // Of an argument that is there twice, gRPC takes now the first and now the last.
  if (!Has(own, GRPC_ARG_LB_POLICY_NAME)) own.SetLoadBalancingPolicyName("round_robin");
  const std::pair<const char*, int> numbers[] = {
      {GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs},
      {GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMostReconnectMs},
      {GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs},
      {GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, kLookUpAgainMs},
      {GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs},
      {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs},
      {GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0},
      // A request may wait in the server's queue in silence: pings go without data too.
      {GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0},
      {GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, kMaxReceiveBytes}};
  for (const auto& [key, value] : numbers) {
    if (!Has(own, key)) own.SetInt(key, value);
  }
  return own;
}

std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  return grpc::CreateCustomChannel(
      address, credentials != nullptr ? credentials : grpc::InsecureChannelCredentials(),
      MakeChannelArguments());
}

}  // namespace skipstone::client
