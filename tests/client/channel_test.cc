#include "client/channel.h"

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

TEST(ChannelTest, TakesAnswersAboveTheDefaultLimitOfGrpc) {
  ScriptedServer server;
  server.Answer<v1::DetokenizeRequest, v1::DetokenizeResponse>(
      [](const auto&, auto& response) { response.set_text(std::string(5 << 20, 'x')); });
  const auto text = Client(server.address()).Detokenize({});
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->text().size(), 5 << 20);
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
