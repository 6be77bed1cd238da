// Many callers on few places, with nothing but the retries of gRPC itself.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"

namespace skipstone::server {
namespace {

constexpr char kServiceConfig[] = R"({"methodConfig": [{
  "name": [{"service": "skipstone.v1.Inference"}],
  "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "5s",
                  "backoffMultiplier": 2, "retryableStatusCodes": ["RESOURCE_EXHAUSTED"]}}]})";

// How many of 40 calls that come at once are answered; every other one is a stream.
int Answered(FakeServer& server) {
  constexpr int kCallers = 40;
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  const auto stub = v1::Inference::NewStub(grpc::CreateCustomChannel(
      server.server().grpc_address(), grpc::InsecureChannelCredentials(), arguments));
  std::atomic<int> answered{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] {
      const v1::GenerateRequest request = Prompt("5 6 7", 40);
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
      v1::GenerateResponse response;
      const grpc::Status status = i % 2 == 0 ? stub->Generate(&context, request, &response)
                                             : Streaming(*stub, request).ReadAll();
      if (status.ok()) ++answered;
    });
  }
  for (std::thread& caller : callers) caller.join();
  return answered;
}

FakeServerOptions TwelvePlaces(const std::string& yaml = "") {
  return {
      .yaml = yaml, .max_sequences = 4, .max_queue = 8, .step_time = std::chrono::milliseconds(10)};
}

TEST(RetryHerdTest, NearlyAllOfAHerdAreServed) {
  FakeServer server(TwelvePlaces());
  EXPECT_GE(Answered(server), 38);
  EXPECT_GT(server.Outcomes("rejected"), 20) << "there was no room for all at once";
}

TEST(RetryHerdTest, SoAreThoseOfATenantAtItsLimit) {
  FakeServerOptions options = TwelvePlaces("policy: {max_tenant_running: 12}");
  options.max_queue = 100;
  FakeServer server(options);
  EXPECT_GE(Answered(server), 38);
  EXPECT_GT(server.Outcomes("rejected"), 20);
}

}  // namespace
}  // namespace skipstone::server
