// The program: its READY line, ports, signals and exit codes.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <sys/resource.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"
#include "server/health_service.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"
#include "tests/support/server_process.h"
#include "tests/support/tcp_client.h"

namespace skipstone::server {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckResponse;
using testing::HasSubstr;

const std::string kTinyModel =
    "--model=synthetic:layers=2,hidden=64,heads=4,ffn=128,vocab=64,context=1000000";

std::vector<std::string> Tiny(const std::vector<std::string>& more = {}) {
  std::vector<std::string> flags = {kTinyModel, "--threads=1", "--kv_pages=130000"};
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address) {
  return grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
}

// With connections of its own.
std::shared_ptr<grpc::Channel> NewChannelTo(const std::string& address) {
  grpc::ChannelArguments own;
  own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), own);
}

HealthCheckResponse::ServingStatus Readiness(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(kReadinessService);
  HealthCheckResponse response;
  EXPECT_TRUE(Health::NewStub(channel)->Check(&context, request, &response).ok());
  return response.status();
}

TEST(MainTest, PrintsReadyWhenItServes) {
  const auto server = ServerProcess::Start(Tiny());
  ASSERT_NE(server, nullptr);
  EXPECT_THAT(server->grpc_address(), testing::MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  EXPECT_EQ(server->health_address(), "") << "none was asked for";
  const auto channel = ChannelTo(server->grpc_address());
  EXPECT_EQ(Readiness(channel), HealthCheckResponse::SERVING);
  Streaming stream(*v1::Inference::NewStub(channel), Prompt("5", 3));
  EXPECT_TRUE(stream.ReadAll().ok());
  EXPECT_THAT(server->ScrapeMetrics(), HasSubstr("skipstone_build_info"));
}

TEST(MainTest, HealthPortServesHealthOnly) {
  const auto server = ServerProcess::Start(Tiny({"--health_listen=127.0.0.1:0"}));
  ASSERT_NE(server, nullptr);
  ASSERT_NE(server->health_address(), "");
  const auto channel = ChannelTo(server->health_address());
  EXPECT_EQ(Readiness(channel), HealthCheckResponse::SERVING);
  grpc::ClientContext context;
  v1::GetModelResponse model;
  EXPECT_EQ(v1::Inference::NewStub(channel)->GetModel(&context, {}, &model).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST(MainTest, FlagsReachTheEngine) {
  const auto server =
      ServerProcess::Start(Tiny({"--max_queue=7", "--max_queue_tokens=123", "--itl_bound=1.5ms",
                                 "--brownout_queue=0.25", "--fair_share=metadata:x-tenant-id"}));
  ASSERT_NE(server, nullptr);
  const auto stub = v1::Inference::NewStub(ChannelTo(server->grpc_address()));
  grpc::ClientContext model_context;
  v1::GetModelResponse model;
  ASSERT_TRUE(stub->GetModel(&model_context, {}, &model).ok());
  EXPECT_EQ(model.max_queue(), 7u);
  EXPECT_EQ(model.max_queue_tokens(), 123u);
  EXPECT_GT(model.schema_revision(), 3u) << "grows with each field";
  grpc::ClientContext load_context;
  v1::GetLoadResponse load;
  ASSERT_TRUE(stub->GetLoad(&load_context, {}, &load).ok());
  EXPECT_EQ(load.max_queue_tokens(), 123u);
  EXPECT_EQ(load.waiting_tokens(), 0u);
}

// With no attention kept all prompt rows but the last cost nothing, with the last layers' skipped
// the rows stop early: more of them than --max_batch_tokens are in one step.
TEST(MainTest, AStepOfCheapRowsFitsTheRunner) {
  const auto server = ServerProcess::Start(Tiny({"--max_batch_tokens=8"}));
  ASSERT_NE(server, nullptr);
  const auto stub = v1::Inference::NewStub(ChannelTo(server->grpc_address()));
  v1::GenerateRequest request;
  for (int i = 0; i < 200; ++i) request.mutable_token_ids()->add_ids(i % 60 + 3);
  request.mutable_stopping()->set_max_tokens(2);
  for (const std::string spec : {"attn:0-1", "attn:1", "none"}) {
    request.mutable_skip()->set_spec(spec);
    EXPECT_TRUE(Streaming(*stub, request).ReadAll().ok()) << spec;
  }
}

TEST(MainTest, AnswersReflection) {
  FakeServer server;
  grpc::GenericStub stub(server.channel());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto wait = [&] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  call->StartCall(nullptr);
  ASSERT_TRUE(wait());
  // ServerReflectionRequest: list_services (7) = "*".
  const grpc::Slice slice(std::string("\x3a\x01*"));
  call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  ASSERT_TRUE(wait());
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  ASSERT_TRUE(wait());
  grpc::Slice whole;
  ASSERT_TRUE(answer.DumpToSingleSlice(&whole).ok());
  const std::string text(reinterpret_cast<const char*>(whole.begin()), whole.size());
  EXPECT_THAT(text, HasSubstr("skipstone.v1.Inference"));
  EXPECT_THAT(text, HasSubstr("grpc.health.v1.Health"));
  context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  queue.Shutdown();
}

TEST(MainTest, ASecondServerOnAPortFails) {
  const auto first = ServerProcess::Start(Tiny({"--health_listen=127.0.0.1:0"}));
  ASSERT_NE(first, nullptr);
  const std::string any = "127.0.0.1:0";
  const auto run = [](const std::string& grpc, const std::string& metrics,
                      const std::string& health) {
    return RunServerBinary(
        Tiny({"--listen=" + grpc, "--metrics_listen=" + metrics, "--health_listen=" + health}));
  };
  const std::pair<ProgramResult, std::string> cases[] = {
      {run(first->grpc_address(), any, any), first->grpc_address() + " (--listen)"},
      {run(any, first->metrics_address(), any), first->metrics_address() + " (--metrics_listen)"},
      {run(any, any, first->health_address()), first->health_address() + " (--health_listen)"}};
  for (const auto& [second, where] : cases) {
    EXPECT_EQ(second.exit_status, 1);
    EXPECT_THAT(second.err, HasSubstr("cannot listen on " + where));
    EXPECT_EQ(second.out, "") << "never READY";
  }
  EXPECT_EQ(Readiness(ChannelTo(first->grpc_address())), HealthCheckResponse::SERVING);
}

TEST(MainTest, AModelThatCannotBeLoadedFails) {
  const ProgramResult result =
      RunServerBinary({"--model=/nowhere", "--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0"});
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.err, HasSubstr("/nowhere"));
  EXPECT_EQ(result.out, "");
}

TEST(MainTest, WarnsOfAPublicPort) {
  const auto said_of = [](const std::string& listen) {
    return RunServerBinary(
               {"--model=/nowhere", "--listen=" + listen, "--metrics_listen=127.0.0.1:0"})
        .err;
  };
  EXPECT_THAT(said_of("0.0.0.0:0"), HasSubstr("public"));
  EXPECT_THAT(said_of("127.0.0.1:0"), testing::Not(HasSubstr("public")));
  EXPECT_EQ(ServerConfig().listen, "127.0.0.1:50051");
}

TEST(MainTest, SigtermFinishesWhatRuns) {
  const auto server = ServerProcess::Start(Tiny({"--drain_timeout=10m"}));
  ASSERT_NE(server, nullptr);
  const auto stub = v1::Inference::NewStub(ChannelTo(server->grpc_address()));
  Streaming running(*stub, Prompt("5 6 7", 5000));
  ASSERT_TRUE(running.Read());
  server->Signal(SIGTERM);
  EXPECT_TRUE(running.ReadAll().ok());
  ASSERT_EQ(running.Finished().size(), 1u);
  EXPECT_EQ(running.Finished()[0].usage().completion_tokens(), 5000u);
  EXPECT_EQ(server->Wait(), 0);
  EXPECT_EQ(Streaming(*stub, Prompt("5", 1)).ReadAll().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(MainTest, DuringTheGraceRequestsAreStillTaken) {
  const auto server = ServerProcess::Start(Tiny({"--drain_grace=1h"}));
  ASSERT_NE(server, nullptr);
  const auto channel = ChannelTo(server->grpc_address());
  const auto stub = v1::Inference::NewStub(channel);
  server->Signal(SIGTERM);
  ASSERT_TRUE(Eventually([&] { return Readiness(channel) == HealthCheckResponse::NOT_SERVING; }));
  EXPECT_TRUE(Streaming(*stub, Prompt("5", 3)).ReadAll().ok());
  server->Signal(SIGTERM);
  EXPECT_NE(server->Wait(), 0) << "the second ends it at once";
}

TEST(MainTest, ASecondSigtermEndsADrainAtOnce) {
  const auto server = ServerProcess::Start(Tiny({"--drain_timeout=1h"}));
  ASSERT_NE(server, nullptr);
  const auto channel = ChannelTo(server->grpc_address());
  const auto stub = v1::Inference::NewStub(channel);
  Streaming running(*stub, Prompt("5 6 7", 900000));
  ASSERT_TRUE(running.Read());
  server->Signal(SIGTERM);
  ASSERT_TRUE(Eventually([&] { return channel->GetState(false) != GRPC_CHANNEL_READY; }))
      << "GOAWAY while the stream runs";
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(), 128 + SIGTERM);
  EXPECT_EQ(running.ReadAll().error_code(), grpc::StatusCode::UNAVAILABLE);
}

// The ports are taken before the model is loaded: GOAWAY, READY and the rest are not for this one.
TEST(MainTest, ASignalEndsTheLoading) {
  // Many seconds of random numbers.
  const auto server = ServerProcess::Launch(
      {"--model=synthetic:layers=32,hidden=4096,heads=32,ffn=11008,vocab=32000"});
  ASSERT_NE(server, nullptr);
  constexpr int64_t kWellIntoIt = 100 << 20;
  ASSERT_TRUE(Eventually([&] { return server->ResidentBytes() > kWellIntoIt; }));
  const auto begin = std::chrono::steady_clock::now();
  server->Signal(SIGTERM);
  EXPECT_FALSE(server->AwaitReady());
  EXPECT_EQ(server->Wait(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST(MainTest, MoreConnectionsThanDescriptorsDoNotMakeItDeaf) {
  const auto server = ServerProcess::Launch(Tiny(), /*max_descriptors=*/200);
  ASSERT_TRUE(server->AwaitReady());
  const auto before = ChannelTo(server->grpc_address());
  EXPECT_EQ(Readiness(before), HealthCheckResponse::SERVING);
  const double limit = 99;  // of 200
  {
    std::vector<TcpClient> idle(300);
    for (TcpClient& client : idle) ASSERT_TRUE(client.Connect(server->grpc_address()));
    ASSERT_TRUE(Eventually([&] {
      return server->Metric("skipstone_open_connections") +
                 server->Metric("skipstone_refused_connections_total") ==
             301;
    }));
    EXPECT_EQ(server->Metric("skipstone_open_connections"), limit);
    EXPECT_EQ(server->Metric("skipstone_max_fds"), 200);
    EXPECT_LT(server->Metric("skipstone_open_fds"), 200);
    EXPECT_EQ(Readiness(before), HealthCheckResponse::SERVING) << "who is in stays in";
  }
  ASSERT_TRUE(Eventually([&] { return server->Metric("skipstone_open_connections") < limit; }));
  Streaming stream(*v1::Inference::NewStub(NewChannelTo(server->grpc_address())), Prompt("5", 3));
  EXPECT_TRUE(stream.ReadAll().ok());
}

TEST(MainTest, RaisesTheSoftLimitOfDescriptors) {
  const auto server = ServerProcess::Start(Tiny());
  ASSERT_NE(server, nullptr);
  rlimit limit{};
  ASSERT_EQ(prlimit(server->pid(), RLIMIT_NOFILE, nullptr, &limit), 0);
  EXPECT_EQ(limit.rlim_cur, limit.rlim_max);
}

TEST(MainTest, HelpListsEverySettingWithItsDefault) {
  ServerConfig config;
  FlagSet settings;
  config.AddTo(settings);
  const ProgramResult result = RunServerBinary({"--help"});
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_THAT(result.out, HasSubstr(settings.Help()));
  EXPECT_THAT(result.out, HasSubstr("\n  --check: "));
  EXPECT_THAT(result.out, HasSubstr("\n  --config\n"));
}

TEST(MainTest, TellsItsVersion) {
  const ProgramResult result = RunServerBinary({"--version"});
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_EQ(result.out, "skipstone-server " SKIPSTONE_VERSION "\n");
}

TEST(MainTest, TheDrainTimeoutCutsWhatStillRuns) {
  const auto server = ServerProcess::Start(Tiny({"--drain_timeout=50ms"}));
  ASSERT_NE(server, nullptr);
  const auto stub = v1::Inference::NewStub(ChannelTo(server->grpc_address()));
  Streaming running(*stub, Prompt("5 6 7", 900000));
  ASSERT_TRUE(running.Read());
  server->Signal(SIGTERM);
  const grpc::Status status = running.ReadAll();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("shut down"));
  EXPECT_EQ(server->Wait(), 0);
}

}  // namespace
}  // namespace skipstone::server
