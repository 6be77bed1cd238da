// One test for each gRPC code that the API can return, but INVALID_ARGUMENT (its own file).
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"

namespace skipstone::server {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;
using testing::StartsWith;

void SetDeadline(grpc::ClientContext& context, std::chrono::milliseconds wait) {
  context.set_deadline(std::chrono::system_clock::now() + wait);
}

v1::GenerateRequest Named(const std::string& id, uint32_t max_tokens) {
  v1::GenerateRequest request = Prompt("5 6 7", max_tokens);
  request.set_request_id(id);
  return request;
}

// Of a refusal that may be sent again.
void CheckPushback(const std::map<std::string, std::string>& trailing) {
  ASSERT_TRUE(trailing.contains("grpc-retry-pushback-ms"));
  const int ms = std::stoi(trailing.at("grpc-retry-pushback-ms"));
  EXPECT_GE(ms, 20);
  EXPECT_LE(ms, 10000);
}

TEST(ErrorCodesTest, NotFoundListsTheKnownLevels) {
  FakeServer server({.yaml = "levels: {full: none, deep: 'attn:last=1'}"});
  v1::GenerateRequest request = Prompt("5", 1);
  request.mutable_skip()->set_level("shallow");
  const grpc::Status status = server.Generate(request).status;
  EXPECT_EQ(status.error_code(), StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(), HasSubstr("shallow"));
  EXPECT_THAT(status.error_message(), HasSubstr("full, deep"));
  EXPECT_EQ(server.Outcomes("rejected"), 1);
  request.mutable_skip()->set_level("full");
  request.mutable_skip()->mutable_adaptive()->set_ceiling_level("shallow");
  EXPECT_EQ(server.Generate(request).status.error_code(), StatusCode::NOT_FOUND);
}

TEST(ErrorCodesTest, ResourceExhaustedByAFullQueueSaysWhenToComeBack) {
  FakeServer server({.max_sequences = 1, .max_queue = 1});
  server.gate().Close();
  Streaming running(server.stub(), Named("running", 2));
  server.gate().WaitArrivals(1);
  Streaming queued(server.stub(), Named("queued", 2));
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 1; }));
  const auto refused = server.Generate(Prompt("5", 1));
  EXPECT_EQ(refused.status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("the limit is 1"));
  CheckPushback(refused.trailing);
  EXPECT_FALSE(refused.initial.contains("skipstone-request-id")) << "gRPC would not retry";
  grpc::ClientContext context;
  v1::ScoreRequest score;
  for (int i = 0; i < 3; ++i) score.add_items()->mutable_prompt()->set_text("5 6");
  v1::ScoreResponse scored;
  EXPECT_EQ(server.stub().Score(&context, score, &scored).error_code(),
            StatusCode::RESOURCE_EXHAUSTED);
  CheckPushback(CopyOf(context.GetServerTrailingMetadata()));
  server.gate().Open();
  EXPECT_TRUE(running.ReadAll().ok());
  EXPECT_TRUE(queued.ReadAll().ok());
  EXPECT_EQ(server.Outcomes("rejected"), 2);
}

TEST(ErrorCodesTest, ResourceExhaustedByPromptTokensThatWait) {
  FakeServer server({.yaml = "max_queue_tokens: 6", .max_sequences = 1});
  server.gate().Close();
  Streaming running(server.stub(), Named("running", 2));
  server.gate().WaitArrivals(1);
  Streaming queued(server.stub(), Named("queued", 2));  // of 3 tokens
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting_tokens() == 3; }));
  const auto refused = server.Generate(Prompt("1 2 3 4", 1));
  EXPECT_EQ(refused.status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("the limit is 6"));
  CheckPushback(refused.trailing);
  Streaming fits(server.stub(), Named("fits", 2));
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting_tokens() == 6; }));
  EXPECT_EQ(server.Load().waiting(), 2u);
  server.gate().Open();
  for (Streaming* stream : {&running, &queued, &fits}) EXPECT_TRUE(stream->ReadAll().ok());
  EXPECT_EQ(server.Load().waiting_tokens(), 0u);
}

TEST(ErrorCodesTest, ResourceExhaustedForeverSaysDoNotRetry) {
  FakeServer server({.num_pages = 20});  // 20 tokens in 4 layers
  const auto refused = server.Generate(Prompt("5 6 7", 19));
  EXPECT_EQ(refused.status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("24 pages"));
  EXPECT_EQ(refused.trailing.at("grpc-retry-pushback-ms"), "-1");
  EXPECT_TRUE(server.Generate(Prompt("5 6 7", 18)).status.ok());
}

TEST(ErrorCodesTest, ResourceExhaustedForAMessageThatIsTooLarge) {
  FakeServer server;
  const auto refused = server.Generate(Prompt(std::string(5 << 20, ' ') + "5", 1));
  EXPECT_EQ(refused.status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("the limit is 4194304"));
  EXPECT_EQ(refused.trailing.at("grpc-retry-pushback-ms"), "-1");
  EXPECT_EQ(server.Outcomes("rejected"), 1);
  grpc::ClientContext context;
  v1::TokenizeRequest request;
  request.set_text(std::string(5 << 20, ' '));
  v1::TokenizeResponse response;
  EXPECT_EQ(server.stub().Tokenize(&context, request, &response).error_code(),
            StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(CopyOf(context.GetServerTrailingMetadata()).at("grpc-retry-pushback-ms"), "-1");
}

// Items that were taken before the one that was not end first, now and then.
TEST(ErrorCodesTest, ARefusedScoreCallSaysWhyAndNeverCancelled) {
  FakeServer server({.max_sequences = 1, .max_queue = 4});
  v1::ScoreRequest request;
  for (int i = 0; i < 64; ++i) request.add_items()->mutable_prompt()->set_text("5 6");
  constexpr int kCalls = 4 * 500;
  std::atomic<int> refused = 0;
  std::vector<std::future<void>> clients;
  for (int t = 0; t < 4; ++t) {
    clients.push_back(std::async(std::launch::async, [&] {
      for (int i = 0; i < kCalls / 4; ++i) {
        grpc::ClientContext context;
        v1::ScoreResponse response;
        const StatusCode code = server.stub().Score(&context, request, &response).error_code();
        // Once in a while the steps keep up with the items.
        EXPECT_THAT(code, testing::AnyOf(StatusCode::RESOURCE_EXHAUSTED, StatusCode::OK));
        if (code == StatusCode::RESOURCE_EXHAUSTED) ++refused;
      }
    }));
  }
  for (auto& client : clients) client.get();
  EXPECT_GT(refused, kCalls / 2);
}

TEST(ErrorCodesTest, AStreamThatIsResetBeforeItsMessageIsCancelled) {
  FakeServer server;
  grpc::GenericStub stub(server.channel());
  grpc::CompletionQueue queue;
  const auto next = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    EXPECT_TRUE(queue.Next(&tag, &ok));
  };
  for (const std::string method : {"Generate", "GenerateStream", "Score"}) {
    grpc::ClientContext context;
    auto call = stub.PrepareCall(&context, "/skipstone.v1.Inference/" + method, &queue);
    call->StartCall(nullptr);
    next();
    context.TryCancel();
    grpc::Status status;
    call->Finish(&status, nullptr);
    next();
    EXPECT_EQ(status.error_code(), StatusCode::CANCELLED);
  }
  EXPECT_TRUE(Eventually([&] { return server.Outcomes("cancelled") == 3; }));
  EXPECT_EQ(server.Outcomes("rejected"), 0);
  // A half-closed one is the client's fault.
  grpc::ClientContext context;
  auto call = stub.PrepareCall(&context, "/skipstone.v1.Inference/Generate", &queue);
  call->StartCall(nullptr);
  next();
  call->WritesDone(nullptr);
  next();
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT) << status.error_message();
  EXPECT_TRUE(Eventually([&] { return server.Outcomes("rejected") == 1; }));
  queue.Shutdown();
}

void FromTenant(grpc::ClientContext& context, const std::string& tenant) {
  context.AddMetadata("x-tenant", tenant);
}

TEST(ErrorCodesTest, ResourceExhaustedByTheTenantsSequencesInFlight) {
  FakeServer server({.yaml = "fair_share: metadata:x-tenant\npolicy: {max_tenant_running: 2}"});
  const auto a = [](grpc::ClientContext& context) { FromTenant(context, "a"); };
  const auto b = [](grpc::ClientContext& context) { FromTenant(context, "b"); };
  server.gate().Close();
  Streaming first(server.stub(), Named("first", 2), a);
  server.gate().WaitArrivals(1);
  Streaming second(server.stub(), Named("second", 2), a);
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 1; }));
  const auto refused = server.Generate(Prompt("5", 1), a);
  EXPECT_EQ(refused.status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("tenant 'a'"));
  EXPECT_THAT(refused.status.error_message(), HasSubstr("max_tenant_running is 2"));
  CheckPushback(refused.trailing);
  Streaming other(server.stub(), Named("other", 2), b);
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 2; }));
  v1::GenerateRequest many = Prompt("5", 1);
  many.set_n(2);  // sequences count
  EXPECT_EQ(server.Generate(many, b).status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  server.gate().Open();
  for (Streaming* stream : {&first, &second, &other}) EXPECT_TRUE(stream->ReadAll().ok());
  EXPECT_TRUE(server.Generate(Prompt("5", 1), a).status.ok()) << "an end makes room";
  // What can never fit is not to be sent again.
  many.set_n(3);
  const auto never = server.Generate(many, b);
  EXPECT_EQ(never.status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(never.trailing.at("grpc-retry-pushback-ms"), "-1");
  grpc::ClientContext context;
  v1::ScoreRequest score;
  for (int i = 0; i < 3; ++i) score.add_items()->mutable_prompt()->set_text("5 6");
  v1::ScoreResponse scored;
  EXPECT_EQ(server.stub().Score(&context, score, &scored).error_code(),
            StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(CopyOf(context.GetServerTrailingMetadata()).at("grpc-retry-pushback-ms"), "-1");
}

TEST(ErrorCodesTest, ResourceExhaustedByTheTenantsSequencesThatWait) {
  FakeServer server({.yaml = "fair_share: metadata:x-tenant\npolicy: {max_tenant_queued: 1}",
                     .max_sequences = 1});
  const auto a = [](grpc::ClientContext& context) { FromTenant(context, "a"); };
  server.gate().Close();
  Streaming running(server.stub(), Named("running", 2), a);
  server.gate().WaitArrivals(1);
  Streaming queued(server.stub(), Named("queued", 2), a);
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 1; }));
  const auto refused = server.Generate(Prompt("5", 1), a);
  EXPECT_EQ(refused.status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("max_tenant_queued is 1"));
  CheckPushback(refused.trailing);
  Streaming other(server.stub(), Named("other", 2),
                  [](grpc::ClientContext& context) { FromTenant(context, "b"); });
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 2; }));
  server.gate().Open();
  for (Streaming* stream : {&running, &queued, &other}) EXPECT_TRUE(stream->ReadAll().ok());
  EXPECT_TRUE(server.Generate(Prompt("5", 1), a).status.ok());
}

// Some of it has room, and what it is told is about the rest.
TEST(ErrorCodesTest, ARefusedScoreCallWaitsForItsTenantsSequencesToo) {
  FakeServer server({.yaml = "fair_share: metadata:x-tenant\npolicy: {max_tenant_running: 8}"});
  const auto a = [](grpc::ClientContext& context) { FromTenant(context, "a"); };
  server.gate().Close();
  std::vector<std::unique_ptr<Streaming>> streams;
  for (int i = 0; i < 7; ++i) {
    streams.push_back(
        std::make_unique<Streaming>(server.stub(), Named("s" + std::to_string(i), 8), a));
    server.gate().WaitArrivals(1);
  }
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 6u; }));
  server.gate().CloseFrom(4);  // all have started by then, and nothing else ever did
  server.gate().WaitArrivals(4);
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 0u; }));
  auto refused = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    FromTenant(context, "a");
    v1::ScoreRequest score;
    for (int i = 0; i < 8; ++i) score.add_items()->mutable_prompt()->set_text("5 6");
    v1::ScoreResponse scored;
    EXPECT_EQ(server.stub().Score(&context, score, &scored).error_code(),
              StatusCode::RESOURCE_EXHAUSTED);
    return std::stoi(CopyOf(context.GetServerTrailingMetadata()).at("grpc-retry-pushback-ms"));
  });
  ASSERT_TRUE(Eventually([&] { return server.Outcomes("rejected") == 1; }));
  server.gate().Open();
  EXPECT_GE(refused.get(), 700) << "as long as seven took to start, which is told as a second";
  for (const auto& stream : streams) EXPECT_TRUE(stream->ReadAll().ok());
}

TEST(ErrorCodesTest, DeadlineExceededOnArrival) {
  FakeServer server;
  const auto late = server.Generate(Prompt("5", 60), [](grpc::ClientContext& context) {
    SetDeadline(context, std::chrono::milliseconds(-1));
  });
  EXPECT_EQ(late.status.error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(server.gate().arrivals(), 0);
}

TEST(ErrorCodesTest, DeadlineExceededWhileQueued) {
  FakeServer server({.max_sequences = 1});
  server.gate().Close();
  Streaming running(server.stub(), Named("running", 60));
  server.gate().WaitArrivals(1);
  Streaming queued(server.stub(), Named("queued", 2), [](grpc::ClientContext& context) {
    SetDeadline(context, std::chrono::milliseconds(500));
  });
  EXPECT_EQ(queued.ReadAll().error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(queued.events().empty());
  // These follow the reset of the stream on the same connection, so the server knows of it.
  for (int i = 0; i < 50; ++i) server.Load();
  server.gate().Open();
  EXPECT_TRUE(running.ReadAll().ok());
  EXPECT_TRUE(Eventually([&] { return server.Outcomes("deadline") == 1; }));
  EXPECT_EQ(server.Outcomes("cancelled"), 0);
}

TEST(ErrorCodesTest, DeadlineExceededWhileDecoding) {
  FakeServer server(Endless());
  Streaming running(server.stub(), Named("running", 50000), [](grpc::ClientContext& context) {
    SetDeadline(context, std::chrono::milliseconds(100));
  });
  EXPECT_EQ(running.ReadAll().error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_GT(running.events().size(), 1u);
  EXPECT_TRUE(Eventually([&] { return server.Outcomes("deadline") == 1; }));
  EXPECT_TRUE(Eventually([&] { return server.Load().kv_pages_used() == 0; }));
  EXPECT_EQ(server.Outcomes("cancelled"), 0);
}

TEST(ErrorCodesTest, UnavailableWhileLoading) {
  FakeServer server({.serve = false});
  for (int i = 0; i < 2; ++i) {
    const grpc::Status status = server.Generate(Prompt("5", 1)).status;
    EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
    EXPECT_THAT(status.error_message(), HasSubstr("loading"));
  }
  Streaming stream(server.stub(), Prompt("5", 1));
  EXPECT_EQ(stream.ReadAll().error_code(), StatusCode::UNAVAILABLE);
  grpc::ClientContext score_context;
  v1::ScoreResponse scores;
  EXPECT_EQ(server.stub().Score(&score_context, {}, &scores).error_code(), StatusCode::UNAVAILABLE);
  grpc::ClientContext model_context;
  v1::GetModelResponse model;
  EXPECT_EQ(server.stub().GetModel(&model_context, {}, &model).error_code(),
            StatusCode::UNAVAILABLE);
  server.Serve();
  EXPECT_TRUE(server.Generate(Prompt("5", 1)).status.ok());
}

TEST(ErrorCodesTest, UnavailableWhileDraining) {
  FakeServer server;
  server.gate().Close();
  Streaming running(server.stub(), Named("running", 3));
  server.gate().WaitArrivals(1);
  server.server().AnnounceDrain();
  Streaming late(server.stub(), Named("late", 1));
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 1; })) << "it is still taken";
  EXPECT_TRUE(server.Load().draining()) << "whoever asks is told";
  std::thread drain([&] { EXPECT_TRUE(server.server().Drain(/*now=*/false)); });
  // GOAWAY: the next call of this channel would connect again.
  ASSERT_TRUE(Eventually([&] { return server.channel()->GetState(false) != GRPC_CHANNEL_READY; }));
  EXPECT_EQ(server.Generate(Prompt("5", 1)).status.error_code(), StatusCode::UNAVAILABLE);
  server.gate().Open();
  EXPECT_TRUE(running.ReadAll().ok());
  EXPECT_TRUE(late.ReadAll().ok());
  drain.join();
}

TEST(ErrorCodesTest, UnavailableWhenTheDrainCutsAStream) {
  FakeServer server(Endless("drain_timeout: 0s"));
  Streaming running(server.stub(), Named("running", 50000));
  ASSERT_TRUE(running.Read());
  std::thread drain([&] { EXPECT_FALSE(server.server().Drain(/*now=*/false)); });
  const grpc::Status status = running.ReadAll();
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("shut down"));
  EXPECT_TRUE(running.Finished().empty());
  drain.join();
  EXPECT_EQ(server.Outcomes("error"), 1);
}

TEST(ErrorCodesTest, AlreadyExistsForALiveRequestId) {
  FakeServer server;
  server.gate().Close();
  Streaming first(server.stub(), Named("same", 3));
  server.gate().WaitArrivals(1);
  const grpc::Status status = server.Generate(Named("same", 3)).status;
  EXPECT_EQ(status.error_code(), StatusCode::ALREADY_EXISTS);
  EXPECT_THAT(status.error_message(), HasSubstr("'same'"));
  server.gate().Open();
  EXPECT_TRUE(first.ReadAll().ok()) << "the refusal must not touch the first";
  EXPECT_EQ(first.Finished().size(), 1u);
  EXPECT_TRUE(server.Generate(Named("same", 3)).status.ok()) << "its end frees the id";
}

TEST(ErrorCodesTest, PermissionDeniedForCustomSkips) {
  FakeServer server({.yaml = "policy: {allow_custom_skip: false}\n"
                             "levels: {full: none, deep: 'attn:last=1'}"});
  v1::GenerateRequest request = Prompt("5", 1);
  request.mutable_skip()->set_spec("attn:last=1");
  EXPECT_EQ(server.Generate(request).status.error_code(), StatusCode::PERMISSION_DENIED);
  request.mutable_skip()->mutable_layers()->add_attention(3);
  EXPECT_EQ(server.Generate(request).status.error_code(), StatusCode::PERMISSION_DENIED);
  request.mutable_skip()->set_level("deep");
  EXPECT_TRUE(server.Generate(request).status.ok());
  request.mutable_skip()->mutable_adaptive()->set_ceiling_spec("attn:last=2");
  EXPECT_EQ(server.Generate(request).status.error_code(), StatusCode::PERMISSION_DENIED);
}

TEST(ErrorCodesTest, InternalAfterADeviceError) {
  FakeServer server;
  server.gate().Close();
  Streaming running(server.stub(), Named("running", 5));
  server.gate().WaitArrivals(1);
  server.runner().FailSteps();
  server.gate().Open();
  const grpc::Status status = running.ReadAll();
  EXPECT_EQ(status.error_code(), StatusCode::INTERNAL);
  EXPECT_THAT(status.error_message(), HasSubstr("device error"));
  EXPECT_EQ(server.Generate(Prompt("5", 1)).status.error_code(), StatusCode::INTERNAL);
  EXPECT_TRUE(absl::IsInternal(server.server().CheckEngine()));
  EXPECT_FALSE(server.server().health().IsServing(kLivenessService));
  EXPECT_FALSE(server.server().health().IsServing(kReadinessService));
  EXPECT_EQ(server.Outcomes("error"), 1);
  EXPECT_EQ(server.Outcomes("rejected"), 1);
}

TEST(ErrorCodesTest, InternalForLogitsThatAreNotFinite) {
  FakeServer server(
      {.yaml = "levels: {full: none, light: 'attn:2'}\ndefault_level: full", .broken_layer = 2});
  Streaming streamed(server.stub(), Named("streamed", 5));
  const grpc::Status status = streamed.ReadAll();
  EXPECT_EQ(status.error_code(), StatusCode::INTERNAL);
  EXPECT_THAT(status.error_message(), AllOf(HasSubstr("non-finite"), HasSubstr("level 'full'")));
  v1::ScoreRequest score;
  score.add_items()->mutable_prompt()->set_text("5 6 7");
  grpc::ClientContext context;
  v1::ScoreResponse scored;
  const grpc::Status of_score = server.stub().Score(&context, score, &scored);
  EXPECT_EQ(of_score.error_code(), StatusCode::INTERNAL);
  EXPECT_THAT(of_score.error_message(), StartsWith("items[0]: the model's logits"));
  EXPECT_THAT(of_score.error_message(), HasSubstr("non-finite"));
  v1::GenerateRequest light = Prompt("5", 3);
  light.mutable_skip()->set_level("light");
  EXPECT_TRUE(server.Generate(light).status.ok());
  EXPECT_TRUE(server.server().health().IsServing(kReadinessService));
  EXPECT_EQ(server.Outcomes("error"), 2);
  EXPECT_EQ(server.Outcomes("ok"), 1);
}

TEST(ErrorCodesTest, CancelledFreesThePagesWithinTwoSteps) {
  FakeServer server(Endless());
  Streaming stream(server.stub(), Named("gone", 50000));
  // Accepted, then a token: the step that made it is over, and the load of now is known.
  ASSERT_TRUE(stream.Read());
  ASSERT_TRUE(stream.Read());
  server.gate().CloseAndWait();
  const int before = server.gate().arrivals();
  ASSERT_GT(server.Load().kv_pages_used(), 0u);
  stream.Cancel();
  EXPECT_EQ(stream.ReadAll().error_code(), StatusCode::CANCELLED);
  // These follow the reset of the stream on the same connection, so the server knows of it.
  for (int i = 0; i < 50; ++i) server.Load();
  server.gate().Open();
  EXPECT_TRUE(Eventually([&] { return server.Load().kv_pages_used() == 0; }));
  EXPECT_LE(server.gate().arrivals(), before + 2);
  EXPECT_TRUE(Eventually([&] { return server.Outcomes("cancelled") == 1; }));
}

TEST(ErrorCodesTest, AbortedForAScoreCallThatWasAborted) {
  FakeServer server({.max_batch_tokens = 2});
  server.gate().Close();
  v1::ScoreRequest request;
  request.set_request_id("score");
  request.add_items()->mutable_prompt()->set_text("5 6 7 8 9");  // more than one step
  request.add_items()->mutable_prompt()->set_text("8 9");
  auto scored = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    v1::ScoreResponse response;
    return server.stub().Score(&context, request, &response);
  });
  server.gate().WaitArrivals(1);
  grpc::ClientContext context;
  v1::AbortRequest abort;
  abort.add_request_ids("score");
  abort.add_request_ids("unknown");
  v1::AbortResponse aborted;
  ASSERT_TRUE(server.stub().Abort(&context, abort, &aborted).ok());
  EXPECT_THAT(aborted.aborted(), testing::ElementsAre("score"));
  server.gate().Open();
  EXPECT_EQ(scored.get().error_code(), StatusCode::ABORTED);
  EXPECT_TRUE(Eventually([&] { return server.Load().kv_pages_used() == 0; }));
}

}  // namespace
}  // namespace skipstone::server
