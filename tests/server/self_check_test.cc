#include "server/self_check.h"

#include <atomic>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "server/connection_acceptor.h"
#include "server/grpc_port.h"
#include "tests/server/fake_server.h"
#include "tests/support/tcp_client.h"

namespace skipstone::server {
namespace {

using std::chrono::milliseconds;

constexpr SelfCheckOptions kOften = {.interval = milliseconds(1), .deadline = milliseconds(20)};

TEST(SelfCheckTest, APortThatDoesNotAnswerIsLost) {
  // Connections wait in the kernel's queue, as they do at a listener that went deaf.
  const auto deaf = ConnectionAcceptor::Listen("127.0.0.1:0");
  ASSERT_TRUE(deaf.ok());
  std::atomic<int> calls = 0;
  const SelfCheck check(
      [&] {
        ++calls;
        return (*deaf)->ConnectToSelf();
      },
      kOften);
  EXPECT_TRUE(check.status().ok()) << "one failure is not enough";
  ASSERT_TRUE(Eventually([&] { return absl::IsInternal(check.status()); }));
  EXPECT_GE(calls, SelfCheckOptions().failures);
}

TEST(SelfCheckTest, APortThatCannotBeConnectedIsLost) {
  const SelfCheck check([] { return absl::UnavailableError("no"); }, kOften);
  EXPECT_TRUE(Eventually([&] { return absl::IsInternal(check.status()); }));
}

// What a proxy on the same host, or a hostile client there, can bring about.
TEST(SelfCheckTest, AHostWithoutLocalPortsSaysNothingOfThisOne) {
  std::atomic<int> calls = 0;
  const SelfCheck check(
      [&] {
        ++calls;
        return absl::ResourceExhaustedError("bind: Address already in use");
      },
      kOften);
  ASSERT_TRUE(Eventually([&] { return calls > 5 * SelfCheckOptions().failures; }));
  EXPECT_TRUE(check.status().ok());
}

TEST(SelfCheckTest, AServerThatLostItsPortIsNotAlive) {
  FakeServer server;
  EXPECT_TRUE(server.server().CheckEngine().ok());
  // Hardly ever does something answer in no time.
  server.server().WatchOwnPort(
      {.interval = milliseconds(1), .deadline = milliseconds(0), .failures = 1});
  ASSERT_TRUE(Eventually([&] { return absl::IsInternal(server.server().CheckEngine()); }));
  EXPECT_FALSE(server.server().health().IsServing(kLivenessService));
  EXPECT_FALSE(server.server().health().IsServing(kReadinessService));
}

// The connections of a hostile client are no reason to end.
TEST(SelfCheckTest, AFullPortStillAnswersItself) {
  HealthService health;
  const auto port = GrpcPort::Open("127.0.0.1:0", /*max_connections=*/1, ServerConfig(), {&health});
  ASSERT_TRUE(port.ok()) << port.status();
  ConnectionAcceptor& acceptor = (*port)->acceptor();
  TcpClient other;
  ASSERT_TRUE(other.Connect(absl::StrFormat("127.0.0.1:%d", (*port)->port())));
  ASSERT_TRUE(Eventually([&] { return acceptor.open_connections() == 1; }));
  std::atomic<int> calls = 0;
  const SelfCheck check(
      [&] {
        ++calls;
        return acceptor.ConnectToSelf();
      },
      {.interval = milliseconds(1)});
  ASSERT_TRUE(Eventually([&] { return calls > 10; }));
  EXPECT_TRUE(check.status().ok()) << check.status();
}

}  // namespace
}  // namespace skipstone::server
