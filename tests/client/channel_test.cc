#include "client/channel.h"

#include <grpcpp/grpcpp.h>

#include <chrono>

#include "client/client.h"
#include "gtest/gtest.h"
#include "tests/client/scripted_server.h"
#include "tests/server/fake_server.h"
#include "tests/support/temp_dir.h"

namespace skipstone::client {
namespace {

TEST(ChannelTest, TakesEveryFormOfAddress) {
  ScriptedServer server;
  const std::string port = std::to_string(server.port());
  for (const std::string& address :
       {"127.0.0.1:" + port, "localhost:" + port, "ipv4:127.0.0.1:" + port,
        "dns:///localhost:" + port, "dns:localhost:" + port}) {
    const auto load = Client(address).GetLoad();
    EXPECT_TRUE(load.ok()) << address << ": " << load.status();
  }
  EXPECT_EQ(server.calls().size(), 5);
}

TEST(ChannelTest, TakesUnixSockets) {
  const TempDir dir;
  const std::string address = "unix:" + dir.path() + "/socket";
  ScriptedServer server(address);
  const auto load = Client(address).GetLoad();
  EXPECT_TRUE(load.ok()) << load.status();
}

TEST(ChannelTest, AddressesThatCannotBeReachedAreUnavailable) {
  CallOptions options;
  options.retry.max_attempts = 1;
  const TempDir dir;
  for (const std::string& address : {std::string("no port"), "unix:" + dir.path()}) {
    const absl::Status status = Client(address).GetLoad(options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << address << ": " << status;
    EXPECT_FALSE(status.message().empty());
  }
}

TEST(ChannelTest, SpreadsCallsOverAllAddresses) {
  ScriptedServer a;
  ScriptedServer b;
  const Client client("ipv4:" + a.address() + "," + b.address());
  // Until both are connected one may get all.
  EXPECT_TRUE(server::Eventually([&] {
    EXPECT_TRUE(client.GetLoad().ok());
    return !a.calls().empty() && !b.calls().empty();
  }));
  const size_t before = a.calls().size();
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(client.GetLoad().ok());
  EXPECT_EQ(a.calls().size() - before, 5);
}

// Detokenize with an answer of `bytes`.
absl::StatusOr<v1::DetokenizeResponse> Receive(size_t bytes) {
  ScriptedServer server;
  server.Answer<v1::DetokenizeRequest, v1::DetokenizeResponse>(
      [bytes](const auto&, auto& response) { response.set_text(std::string(bytes, 'x')); });
  return Client(server.address()).Detokenize({});
}

TEST(ChannelTest, TakesTheLargestAnswersAndNotAny) {
  constexpr size_t kLargest = 64 << 20;  // what a server's Score may answer
  const auto text = Receive(kLargest);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->text().size(), kLargest);
  EXPECT_EQ(Receive(kMaxReceiveBytes).status().code(), absl::StatusCode::kResourceExhausted);
}

// Whether the server leaves the connection alone for so long after a call. gRPC sends the pings of
// these channels one second apart.
bool SurvivesSilence(ScriptedServer& server, bool ping_without_calls,
                     std::chrono::seconds silence) {
  grpc::ChannelArguments own;
  own.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20);
  if (ping_without_calls) own.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  const auto channel = grpc::CreateCustomChannel(
      server.address(), grpc::InsecureChannelCredentials(), MakeChannelArguments(own));
  EXPECT_TRUE(Client(channel).GetLoad().ok());
  const auto end = std::chrono::system_clock::now() + silence;
  return !channel->WaitForStateChange(GRPC_CHANNEL_READY, end);
}

TEST(ChannelTest, DoesNotPingBetweenCalls) {
  ScriptedServer server;  // ends a connection with the fourth ping, as gRPC's servers do by default
  EXPECT_TRUE(SurvivesSilence(server, /*ping_without_calls=*/false, std::chrono::seconds(6)));
  EXPECT_FALSE(SurvivesSilence(server, /*ping_without_calls=*/true, std::chrono::seconds(60)));
}

TEST(ChannelTest, OnesOwnArgumentsWin) {
  ScriptedServer a;
  ScriptedServer b;
  grpc::ChannelArguments own;
  own.SetLoadBalancingPolicyName("pick_first");
  const Client client(grpc::CreateCustomChannel("ipv4:" + a.address() + "," + b.address(),
                                                grpc::InsecureChannelCredentials(),
                                                MakeChannelArguments(own)));
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(client.GetLoad().ok());
  EXPECT_EQ(a.calls().size(), 100);
}

TEST(ChannelTest, PingsNoMoreOftenThanServersPermitByDefault) {
  const grpc::ChannelArguments arguments = MakeChannelArguments();
  const grpc_channel_args args = arguments.c_channel_args();
  const auto value = [&](const std::string& key) {
    for (size_t i = 0; i < args.num_args; ++i) {
      if (args.args[i].key == key) return args.args[i].value.integer;
    }
    return -1;
  };
  EXPECT_GT(value(GRPC_ARG_KEEPALIVE_TIME_MS), 300'000);
  EXPECT_EQ(value(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS), 100);
  EXPECT_EQ(value(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS), 2000);
}

TEST(ChannelTest, UsesTheGivenCredentials) {
  ScriptedServer server;
  CallOptions options;
  options.retry.max_attempts = 1;
  EXPECT_TRUE(Client(MakeChannel(server.address(), grpc::InsecureChannelCredentials()))
                  .GetLoad(options)
                  .ok());
  // A plaintext server cannot shake hands.
  EXPECT_EQ(Client(MakeChannel(server.address(), grpc::SslCredentials({})))
                .GetLoad(options)
                .status()
                .code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace skipstone::client
