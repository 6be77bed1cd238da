#include "client/cancellation.h"

#include <chrono>
#include <future>
#include <thread>
#include <vector>

#include "client/client.h"
#include "gtest/gtest.h"
#include "tests/client/scripted_server.h"
#include "tests/support/gate.h"

namespace skipstone::client {
namespace {

TEST(CancellationTest, EndsAllCallsThatRun) {
  Gate arrived;  // outlives the server, whose threads pass it
  ScriptedServer server;
  server.Handle<v1::TokenizeRequest, v1::TokenizeResponse>(
      [&arrived](grpc::ServerContext& context, const auto&, auto&) {
        arrived.Pass();
        while (!context.IsCancelled()) std::this_thread::yield();
        return grpc::Status::OK;
      });
  const Client client(server.address());
  Cancellation cancellation;
  CallOptions options;
  options.cancellation = &cancellation;
  std::vector<std::future<absl::StatusCode>> calls;
  for (int i = 0; i < 3; ++i) {
    calls.push_back(std::async(std::launch::async,
                               [&] { return client.Tokenize({}, options).status().code(); }));
  }
  arrived.WaitArrivals(3);
  EXPECT_FALSE(cancellation.cancelled());
  cancellation.Cancel();
  for (auto& call : calls) EXPECT_EQ(call.get(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(cancellation.cancelled());
}

TEST(CancellationTest, EndsCallsMadeLaterFromTheStart) {
  ScriptedServer server;
  Cancellation cancellation;
  cancellation.Cancel();
  CallOptions options;
  options.cancellation = &cancellation;
  EXPECT_EQ(Client(server.address()).GetLoad(options).status().code(),
            absl::StatusCode::kCancelled);
}

TEST(CancellationTest, EndsTheWaitBeforeARetry) {
  ScriptedServer server;
  server.FailNext(grpc::StatusCode::UNAVAILABLE, "3600000");
  Cancellation cancellation;
  CallOptions options;
  options.cancellation = &cancellation;
  options.timeout = std::chrono::hours(2);
  const Client client(server.address());
  auto call =
      std::async(std::launch::async, [&] { return client.GetLoad(options).status().code(); });
  while (server.calls().empty()) std::this_thread::yield();
  cancellation.Cancel();
  EXPECT_EQ(call.get(), absl::StatusCode::kCancelled);
  EXPECT_EQ(server.calls().size(), 1);
}

TEST(CancellationTest, LeavesOtherCallsAlone) {
  ScriptedServer server;
  const Client client(server.address());
  Cancellation cancellation;
  CallOptions options;
  options.cancellation = &cancellation;
  ASSERT_TRUE(client.GetLoad(options).ok());
  cancellation.Cancel();  // of a call that has ended
  EXPECT_TRUE(client.GetLoad().ok());
}

}  // namespace
}  // namespace skipstone::client
