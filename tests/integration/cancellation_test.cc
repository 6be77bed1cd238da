// Clients that cancel at any moment leave nothing behind.
#include <grpcpp/grpcpp.h>

#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/integration/request_batch.h"
#include "tests/support/server_process.h"

namespace skipstone {
namespace {

constexpr int kClients = 10;
constexpr int kRounds = 25;
constexpr int kCancellations = kClients * kRounds * 2;
constexpr int kDemoVocab = 2048;

v1::GenerateRequest LongRequest(std::mt19937& random) {
  static const std::vector<std::string> specs = {"none", "attn:last=50%", "attn:1,11+mlp:2",
                                                 "attn:0-11"};
  v1::GenerateRequest request =
      RandomRequests(1, {specs[random() % specs.size()]}, kDemoVocab, random())[0];
  // A few prompts, so that pages are shared; more tokens than any client waits for.
  request.mutable_token_ids()->set_ids(0, 3 + random() % 4);
  request.mutable_stopping()->set_max_tokens(400);
  request.set_n(1 + random() % 3);
  return request;
}

// Two calls, one of each kind, both cancelled when the stream has got a random number of events.
void CancelTwo(v1::Inference::Stub& stub, std::mt19937& random) {
  grpc::ClientContext unary_context;
  const v1::GenerateRequest unary_request = LongRequest(random);
  v1::GenerateResponse response;
  std::promise<grpc::StatusCode> unary;
  stub.async()->Generate(&unary_context, &unary_request, &response,
                         [&](const grpc::Status& status) { unary.set_value(status.error_code()); });
  grpc::ClientContext context;
  const auto stream = stub.GenerateStream(&context, LongRequest(random));
  v1::GenerateEvent event;
  for (int left = static_cast<int>(random() % 12); left > 0 && stream->Read(&event);) --left;
  unary_context.TryCancel();
  context.TryCancel();
  while (stream->Read(&event)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(unary.get_future().get(), grpc::StatusCode::CANCELLED);
}

// The load once nothing runs or waits.
v1::GetLoadResponse IdleLoad(v1::Inference::Stub& stub) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  v1::GetLoadResponse load;
  do {
    grpc::ClientContext context;
    EXPECT_TRUE(stub.GetLoad(&context, {}, &load).ok());
  } while (load.running() + load.waiting() > 0 && std::chrono::steady_clock::now() < end);
  return load;
}

class CancellationTest : public testing::TestWithParam<bool> {};

TEST_P(CancellationTest, RandomCancellationsLeaveThePoolWhole) {
  const bool prefix_cache = GetParam();
  // Too few pages for all at once, so that some are cancelled while preempted or in the queue.
  const auto server =
      ServerProcess::Start({"--model=" + DemoModelDir(), "--kv_pages=2000",
                            std::string("--prefix_cache=") + (prefix_cache ? "true" : "false")});
  ASSERT_NE(server, nullptr);
  const auto stub = Connect(server->grpc_address());
  const v1::GenerateRequest probe = RandomRequests(1, {"none"}, kDemoVocab, 9)[0];
  const std::string bits = Bits(Generate(*stub, probe));

  std::vector<std::thread> clients;
  for (int client = 0; client < kClients; ++client) {
    clients.emplace_back([&, client] {
      std::mt19937 random(100 + client);
      for (int round = 0; round < kRounds; ++round) CancelTwo(*stub, random);
    });
  }
  for (std::thread& client : clients) client.join();

  const v1::GetLoadResponse load = IdleLoad(*stub);
  EXPECT_EQ(load.kv_pages_total(), 2000u);
  EXPECT_EQ(load.kv_pages_used(), 0u);
  EXPECT_EQ(load.kv_pages_free() + load.kv_pages_cached(), 2000u);
  if (!prefix_cache) {
    EXPECT_EQ(load.kv_pages_free(), 2000u);
  }
  EXPECT_EQ(server->Metric("skipstone_kv_pages"), 2000);
  EXPECT_EQ(server->Metric("skipstone_kv_pages", {"state=\"used\""}), 0);
  // A call that is cancelled before the server has seen it is not counted.
  EXPECT_LE(server->Metric("skipstone_requests_total", {"outcome=\"cancelled\""}), kCancellations);
  EXPECT_GT(server->Metric("skipstone_requests_total", {"outcome=\"cancelled\""}),
            kCancellations * 3 / 4);
  EXPECT_EQ(server->Metric("skipstone_requests_total", {"outcome=\"error\""}), 0);
  EXPECT_EQ(Bits(Generate(*stub, probe)), bits) << "and it still computes the same";
}

INSTANTIATE_TEST_SUITE_P(PrefixCache, CancellationTest, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& info) {
                           return std::string(info.param ? "On" : "Off");
                         });

}  // namespace
}  // namespace skipstone
