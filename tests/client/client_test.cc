#include "client/client.h"

#include <atomic>
#include <future>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/scripted_server.h"
#include "tests/server/fake_server.h"
#include "tests/support/gate.h"
#include "tests/support/server_process.h"
#include "tests/support/temp_dir.h"

namespace skipstone::client {
namespace {

using grpc::StatusCode;
using server::Eventually;
using server::FakeServer;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::system_clock;
using testing::ElementsAre;
using testing::HasSubstr;

// Tokenize calls that hold the server until they are cancelled.
void HoldTokenize(ScriptedServer& server, Gate& arrived) {
  server.Handle<v1::TokenizeRequest, v1::TokenizeResponse>(
      [&arrived](grpc::ServerContext& context, const auto&, auto&) {
        arrived.Pass();
        while (!context.IsCancelled()) std::this_thread::yield();
        return grpc::Status::CANCELLED;
      });
}

CallOptions Attempts(int count) {
  CallOptions options;
  options.retry.max_attempts = count;
  return options;
}

// Sends `request` by `call` and checks what the server saw and the caller got.
template <class Request, class Response>
void ExpectMapped(absl::StatusOr<Response> (Client::*call)(const Request&, const CallOptions&)
                      const,
                  const std::string& method, const Request& request, const Response& response) {
  ScriptedServer server;
  server.Answer<Request, Response>([&](const Request&, Response& answer) { answer = response; });
  CallOptions options;
  options.metadata = {{"x-user-id", "42"}, {"x-tag", "a"}, {"x-tag", "b"}};
  const Client client(server.address());
  const auto got = (client.*call)(request, options);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->ShortDebugString(), response.ShortDebugString());
  ASSERT_EQ(server.calls().size(), 1);
  const SeenCall seen = server.calls()[0];
  EXPECT_EQ(seen.method, method);
  EXPECT_EQ(seen.request, request.ShortDebugString());
  EXPECT_EQ(seen.metadata.find("x-user-id")->second, "42");
  EXPECT_EQ(seen.metadata.count("x-tag"), 2);
}

TEST(ClientTest, GenerateIsMapped) {
  v1::GenerateRequest request;
  request.set_text("In the beginning");
  request.mutable_skip()->set_spec("attn:last=33%");
  v1::GenerateResponse response;
  response.mutable_accepted()->set_seed(7);
  response.add_outputs()->mutable_delta()->set_text(" God");
  ExpectMapped(&Client::Generate, "Generate", request, response);
}

TEST(ClientTest, ScoreIsMapped) {
  v1::ScoreRequest request;
  request.add_items()->mutable_prompt()->set_text("a");
  v1::ScoreResponse response;
  response.add_results()->set_logprob_sum(-2.5);
  ExpectMapped(&Client::Score, "Score", request, response);
}

TEST(ClientTest, TokenizeAndDetokenizeAreMapped) {
  v1::TokenizeRequest tokenize;
  tokenize.set_text("a b");
  v1::TokenizeResponse tokens;
  tokens.add_ids(5);
  ExpectMapped(&Client::Tokenize, "Tokenize", tokenize, tokens);
  v1::DetokenizeRequest detokenize;
  detokenize.add_ids(5);
  v1::DetokenizeResponse text;
  text.set_text("a");
  ExpectMapped(&Client::Detokenize, "Detokenize", detokenize, text);
}

TEST(ClientTest, AbortIsMapped) {
  v1::AbortRequest request;
  request.add_request_ids("r1");
  v1::AbortResponse response;
  response.add_aborted("r1");
  ExpectMapped(&Client::Abort, "Abort", request, response);
}

TEST(ClientTest, GetModelAndGetLoadAreMapped) {
  ScriptedServer server;
  server.Answer<v1::GetModelRequest, v1::GetModelResponse>(
      [](const auto&, auto& response) { response.set_num_layers(32); });
  server.Answer<v1::GetLoadRequest, v1::GetLoadResponse>(
      [](const auto&, auto& response) { response.set_running(3); });
  const Client client(server.address());
  EXPECT_EQ(client.GetModel()->num_layers(), 32);
  EXPECT_EQ(client.GetLoad()->running(), 3);
  ASSERT_EQ(server.calls().size(), 2);
  EXPECT_EQ(server.calls()[0].method, "GetModel");
  EXPECT_EQ(server.calls()[1].method, "GetLoad");
}

TEST(ClientTest, ErrorsCarryCodeMessageAndDetails) {
  ScriptedServer server;
  server.Handle<v1::TokenizeRequest, v1::TokenizeResponse>(
      [](grpc::ServerContext&, const auto&, auto&) {
        return grpc::Status(StatusCode::INVALID_ARGUMENT, "text: empty", "detail");
      });
  const auto response = Client(server.address()).Tokenize({});
  EXPECT_EQ(response.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(response.status().message(), "text: empty");
  EXPECT_EQ(response.status().GetPayload("grpc-status-details-bin"), absl::Cord("detail"));
}

TEST(ClientTest, DeadlineReachesTheServer) {
  ScriptedServer server;
  const Client client(server.address());
  CallOptions options;
  const auto before = system_clock::now();
  options.timeout = hours(2);
  ASSERT_TRUE(client.GetLoad(options).ok());
  options.timeout.reset();
  ASSERT_TRUE(client.GetLoad(options).ok());
  // It crosses the wire as a duration, in coarse units where it is long.
  EXPECT_GT(server.calls()[0].deadline, before + hours(2) - std::chrono::minutes(2));
  EXPECT_LT(server.calls()[0].deadline, before + hours(2) + std::chrono::minutes(2));
  EXPECT_GT(server.calls()[1].deadline, before + hours(24 * 365));
}

TEST(ClientTest, DeadlineEndsTheCall) {
  Gate arrived;  // outlives the server, whose threads pass it
  ScriptedServer server;
  HoldTokenize(server, arrived);
  CallOptions options;
  options.timeout = milliseconds(50);
  EXPECT_EQ(Client(server.address()).Tokenize({}, options).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(ClientTest, TimeoutWithoutEndIsNoDeadline) {
  ScriptedServer server;
  CallOptions options;
  options.timeout = milliseconds::max();
  EXPECT_TRUE(Client(server.address()).GetLoad(options).ok());
}

TEST(ClientTest, MetadataThatCannotBeSentIsAnErrorAndNotTheEndOfTheProcess) {
  ScriptedServer server;
  CallOptions options;
  options.metadata = {{"x-user-name", "Zo\xc3\xab"}};
  const auto response = Client(server.address()).GetLoad(options);
  EXPECT_EQ(response.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(response.status().message()), HasSubstr("x-user-name"));
  EXPECT_TRUE(server.calls().empty());
}

TEST(ClientTest, RetriesUntilItSucceeds) {
  ScriptedServer server;
  server.FailNext(StatusCode::UNAVAILABLE, "0");
  server.FailNext(StatusCode::RESOURCE_EXHAUSTED, "1");
  server.Answer<v1::TokenizeRequest, v1::TokenizeResponse>(
      [](const auto& request, auto& response) { response.add_ids(request.text().size()); });
  v1::TokenizeRequest request;
  request.set_text("four");
  CallOptions options;
  options.metadata = {{"x-user-id", "42"}};
  const auto response = Client(server.address()).Tokenize(request, options);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_THAT(response->ids(), ElementsAre(4));
  ASSERT_EQ(server.calls().size(), 3);
  for (const SeenCall& call : server.calls()) {
    EXPECT_EQ(call.request, request.ShortDebugString());
    EXPECT_EQ(call.metadata.count("x-user-id"), 1);
  }
}

TEST(ClientTest, RetriesWhatTheServerCancelled) {
  ScriptedServer server;
  server.FailNext(StatusCode::CANCELLED);
  EXPECT_TRUE(Client(server.address()).GetLoad().ok());
  EXPECT_EQ(server.calls().size(), 2);
}

TEST(ClientTest, RetriesEndWithTheLastError) {
  ScriptedServer server;
  for (int i = 0; i < 3; ++i) server.FailNext(StatusCode::UNAVAILABLE, "0");
  EXPECT_EQ(Client(server.address()).GetLoad(Attempts(3)).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(server.calls().size(), 3);
}

TEST(ClientTest, ObeysAServerThatSaysDoNotRetry) {
  ScriptedServer server;
  server.FailNext(StatusCode::RESOURCE_EXHAUSTED, "-1");
  EXPECT_EQ(Client(server.address()).GetLoad().status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(server.calls().size(), 1);
}

TEST(ClientTest, DoesNotRetryARefusalThatNamesNoTime) {
  ScriptedServer server;
  server.FailNext(StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Client(server.address()).GetLoad().status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(server.calls().size(), 1);
}

TEST(ClientTest, DoesNotRetryWhatWouldFailAgain) {
  ScriptedServer server;
  server.FailNext(StatusCode::INTERNAL, "0");
  EXPECT_EQ(Client(server.address()).GetLoad().status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(server.calls().size(), 1);
}

TEST(ClientTest, DeadlineIsOneForAllAttempts) {
  ScriptedServer server;
  server.FailNext(StatusCode::UNAVAILABLE, "1000");
  CallOptions options;
  // The wait is a good part of it: gRPC sends a timeout of almost the same length as it did before.
  options.timeout = std::chrono::seconds(15);
  ASSERT_TRUE(Client(server.address()).GetLoad(options).ok());
  ASSERT_EQ(server.calls().size(), 2);
  const auto moved = server.calls()[1].deadline - server.calls()[0].deadline;
  EXPECT_LT(std::chrono::abs(moved), milliseconds(500));
}

TEST(ClientTest, DoesNotWaitForARetryAfterTheDeadline) {
  ScriptedServer server;
  server.FailNext(StatusCode::UNAVAILABLE, "3600000");
  CallOptions options;
  options.timeout = std::chrono::minutes(10);
  EXPECT_EQ(Client(server.address()).GetLoad(options).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(server.calls().size(), 1);
}

TEST(ClientTest, WaitsForAServerThatIsNotThereYet) {
  const TempDir dir;
  const std::string address = "unix:" + dir.path() + "/socket";
  EXPECT_EQ(Client(address).GetLoad(Attempts(1)).status().code(), absl::StatusCode::kUnavailable);
  CallOptions options = Attempts(1);
  options.wait_for_ready = true;
  options.timeout = std::chrono::minutes(1);
  auto waiting =
      std::async(std::launch::async, [&] { return Client(address).GetLoad(options).status(); });
  ScriptedServer server(address);
  EXPECT_TRUE(waiting.get().ok());
}

// The status of a call with `options` to a server that comes `delay` after it began.
absl::Status CallAServerThatComesBack(milliseconds delay, const CallOptions& options) {
  const TempDir dir;
  const std::string address = "unix:" + dir.path() + "/socket";
  const Client client(address);
  auto call = std::async(std::launch::async, [&] { return client.GetLoad(options).status(); });
  EXPECT_EQ(call.wait_for(delay), std::future_status::timeout) << delay.count();
  ScriptedServer server(address);
  return call.get();
}

TEST(ClientTest, AServerThatIsBackInTimeServesTheCall) {
  std::vector<std::future<absl::Status>> calls;
  for (const int delay_ms : {200, 1000, 3000}) {
    for (const bool has_deadline : {false, true}) {
      CallOptions options;
      if (has_deadline) options.timeout = std::chrono::seconds(30);
      calls.push_back(std::async(std::launch::async, CallAServerThatComesBack,
                                 milliseconds(delay_ms), options));
    }
  }
  for (auto& call : calls) {
    const absl::Status status = call.get();
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST(ClientTest, AServerThatRestartsOnItsPortServesTheCall) {
  auto server = std::make_unique<ScriptedServer>();
  const std::string address = server->address();
  const Client client(address);
  ASSERT_TRUE(client.GetLoad().ok());
  server.reset();
  auto call = std::async(std::launch::async, [&] { return client.GetLoad().status(); });
  ASSERT_EQ(call.wait_for(std::chrono::seconds(1)), std::future_status::timeout);
  server = std::make_unique<ScriptedServer>(address);
  const absl::Status status = call.get();
  EXPECT_TRUE(status.ok()) << status;
}

// In a process of its own: within this one its threads would drive the client's connection too.
TEST(ClientTest, AServerProcessThatComesLateServesTheCallSoon) {
  const int port = ScriptedServer().port();  // free again
  const std::string address = "127.0.0.1:" + std::to_string(port);
  const Client client(address);
  CallOptions options;
  options.retry.max_backoff = milliseconds(200);
  auto call = std::async(std::launch::async, [&] { return client.GetModel(options).status(); });
  ASSERT_EQ(call.wait_for(milliseconds(300)), std::future_status::timeout);
  const auto server = ServerProcess::Start(
      {"--model=synthetic:layers=2,hidden=16,heads=2,ffn=24,vocab=300", "--listen=" + address});
  ASSERT_NE(server, nullptr);
  ASSERT_EQ(call.wait_for(milliseconds(1500)), std::future_status::ready);
  const absl::Status status = call.get();
  EXPECT_TRUE(status.ok()) << status;
}

TEST(ClientTest, ACallToAServerThatStaysAwayEndsAtItsDeadlineWithTheReason) {
  const TempDir dir;
  const Client client("unix:" + dir.path() + "/none");
  CallOptions options;
  options.timeout = milliseconds(700);
  const auto start = std::chrono::steady_clock::now();
  const absl::Status status = client.GetLoad(options).status();
  // Not longer, and not at once: the last wait that would pass the deadline is not begun.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("/none"));
}

TEST(ClientTest, CancellationEndsTheWaitForAServerThatStaysAway) {
  const TempDir dir;
  const Client client("unix:" + dir.path() + "/none");
  Cancellation cancellation;
  CallOptions options;
  options.cancellation = &cancellation;
  options.timeout = hours(1);
  auto call = std::async(std::launch::async, [&] { return client.GetLoad(options).status(); });
  EXPECT_EQ(call.wait_for(milliseconds(500)), std::future_status::timeout);
  cancellation.Cancel();
  EXPECT_EQ(call.get().code(), absl::StatusCode::kCancelled);
}

TEST(ClientTest, AServerThatAlwaysFailsIsNotFlooded) {
  ScriptedServer server;
  server.Handle<v1::TokenizeRequest, v1::TokenizeResponse>(
      [](grpc::ServerContext&, const auto&, auto&) {
        return grpc::Status(StatusCode::UNAVAILABLE, "broken");
      });
  const Client client(server.address());
  CallOptions options;
  options.timeout = hours(1);
  options.retry.max_backoff = options.retry.initial_backoff = milliseconds(1);
  constexpr int kCalls = 300;
  for (int i = 0; i < kCalls; ++i) {
    EXPECT_EQ(client.Tokenize({}, options).status(), absl::UnavailableError("broken"));
  }
  EXPECT_LE(server.calls().size(), kCalls + 50);
}

// 12 places, each taken for 100 ms; who finds none is told to come back after 50 ms.
class TwelvePlaces {
 public:
  explicit TwelvePlaces(ScriptedServer& server) {
    server.Handle<v1::TokenizeRequest, v1::TokenizeResponse>(
        [this](grpc::ServerContext& context, const auto&, auto&) { return Serve(context); });
  }
  int refused() const { return refused_; }

 private:
  grpc::Status Serve(grpc::ServerContext& context) {
    if (++taken_ <= 12) {
      std::this_thread::sleep_for(milliseconds(100));
      --taken_;
      return grpc::Status::OK;
    }
    --taken_;
    ++refused_;
    context.AddTrailingMetadata("grpc-retry-pushback-ms", "50");
    return grpc::Status(StatusCode::RESOURCE_EXHAUSTED, "the queue is full");
  }

  std::atomic<int> taken_ = 0;
  std::atomic<int> refused_ = 0;
};

TEST(ClientTest, AHerdIsServedByAServerWithTwelvePlaces) {
  ScriptedServer server;
  TwelvePlaces places(server);
  const Client client(server.address());
  std::vector<std::future<absl::Status>> herd;
  for (int i = 0; i < 80; ++i) {
    herd.push_back(std::async(std::launch::async, [&] { return client.Tokenize({}).status(); }));
  }
  int served = 0;
  for (auto& call : herd) served += call.get().ok();
  EXPECT_GE(served, 76);  // 95 %
  EXPECT_GT(places.refused(), 0);
}

TEST(ClientTest, ARequestThatIsTooLargeIsNotSent) {
  ScriptedServer server;
  v1::TokenizeRequest request;
  request.set_text(std::string((4 << 20) + 1, 'x'));
  const absl::Status status = Client(server.address()).Tokenize(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("4194304"));
  EXPECT_TRUE(server.calls().empty());
}

TEST(ClientTest, IsSharedByThreads) {
  ScriptedServer server;
  server.Answer<v1::TokenizeRequest, v1::TokenizeResponse>(
      [](const auto& request, auto& response) { response.add_ids(request.text().size()); });
  const Client client(server.address());
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&client, t] {
      v1::TokenizeRequest request;
      request.set_text(std::string(t, 'x'));
      for (int i = 0; i < 20; ++i) {
        const auto response = client.Tokenize(request);
        ASSERT_TRUE(response.ok()) << response.status();
        EXPECT_THAT(response->ids(), ElementsAre(t));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(ClientTest, AbortEndsAStreamThatRuns) {
  FakeServer server;
  server.gate().Close();
  const Client client(server.server().grpc_address());
  v1::GenerateRequest request = server::Prompt("5 6 7", 50);
  request.set_request_id("mine");
  const auto stream = client.GenerateStream(request);
  server.gate().WaitArrivals(1);
  v1::AbortRequest abort;
  abort.add_request_ids("mine");
  abort.add_request_ids("another");
  const auto aborted = client.Abort(abort);
  ASSERT_TRUE(aborted.ok()) << aborted.status();
  EXPECT_THAT(aborted->aborted(), ElementsAre("mine"));
  server.gate().Open();
  v1::GenerateEvent event;
  v1::Finished finished;
  while (stream->Next(event)) {
    if (event.has_finished()) finished = event.finished();
  }
  EXPECT_TRUE(stream->status().ok()) << stream->status();
  EXPECT_EQ(finished.reason(), v1::ABORTED);
}

TEST(ClientTest, ObeysARealServerWhoseQueueIsFull) {
  FakeServer server({.max_sequences = 1, .max_queue = 1});
  server.gate().Close();
  const Client client(server.server().grpc_address());
  const auto running = client.GenerateStream(server::Prompt("5", 2));
  server.gate().WaitArrivals(1);
  const auto queued = client.GenerateStream(server::Prompt("6", 2));
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 1; }));
  auto refused = std::async(std::launch::async, [&] {
    CallOptions options = Attempts(1000);
    return client.Generate(server::Prompt("7", 2), options);
  });
  ASSERT_TRUE(Eventually([&] { return server.Outcomes("rejected") >= 1; }));
  server.gate().Open();
  const auto response = refused.get();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->outputs(0).finished().usage().completion_tokens(), 2);
}

}  // namespace
}  // namespace skipstone::client
