#include "server/grpc_port.h"

#include <grpcpp/generic/generic_stub.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/raw_http2.h"
#include "tests/server/streaming.h"

namespace skipstone::server {
namespace {

using testing::HasSubstr;

bool IsReady(FakeServer& server) { return server.channel()->GetState(false) == GRPC_CHANNEL_READY; }

grpc::Status Compressed(FakeServer& server, grpc_compression_algorithm algorithm,
                        size_t text_bytes) {
  return server
      .Generate(Prompt(std::string(text_bytes, '5'), 2),
                [&](grpc::ClientContext& context) { context.set_compression_algorithm(algorithm); })
      .status;
}

TEST(GrpcPortTest, CompressedRequestsAreRefused) {
  FakeServer server;
  for (const auto algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    // Small, and larger than a frame.
    for (const size_t bytes : {size_t{100}, size_t{1} << 20}) {
      const grpc::Status status = Compressed(server, algorithm, bytes);
      EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << algorithm;
      EXPECT_THAT(status.error_message(), HasSubstr("ompression")) << algorithm;
    }
  }
}

TEST(GrpcPortTest, CompressedRequestsCanBeAllowed) {
  FakeServer server({.yaml = "allow_compressed_requests: true"});
  EXPECT_TRUE(Compressed(server, GRPC_COMPRESS_GZIP, 1).ok());
  EXPECT_TRUE(Compressed(server, GRPC_COMPRESS_DEFLATE, 1).ok());
}

TEST(GrpcPortTest, TellsClientsItsLimits) {
  constexpr int kMaxConcurrentStreams = 3;
  constexpr int kMaxHeaderListSize = 6;
  FakeServer server({.yaml = "max_concurrent_streams: 17"});
  const auto settings = RawHttp2(server.server().grpc_address()).ReadSettings();
  EXPECT_EQ(settings.at(kMaxConcurrentStreams), 17u);
  EXPECT_LE(settings.at(kMaxHeaderListSize), 16384u);
}

TEST(GrpcPortTest, ToleratesPingsByTheirInterval) {
  FakeServer tolerant({.yaml = "min_ping_interval: 0s"});
  const RawHttp2 often(tolerant.server().grpc_address());
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(often.Ping()) << i;
  FakeServer strict({.yaml = "min_ping_interval: 1h"});
  const RawHttp2 flood(strict.server().grpc_address());
  int answered = 0;
  while (answered < 50 && flood.Ping()) ++answered;
  EXPECT_LT(answered, 10);
}

TEST(GrpcPortTest, AnOldConnectionIsRenewed) {
  FakeServer server({.yaml = "max_connection_age: 50ms"});
  server.gate().Close();
  Streaming running(server.stub(), Prompt("5", 3));
  server.gate().WaitArrivals(1);
  EXPECT_TRUE(Eventually([&] { return !IsReady(server); }));
  server.gate().Open();
  EXPECT_TRUE(running.ReadAll().ok()) << "what runs is finished";
  EXPECT_TRUE(server.Generate(Prompt("5", 1)).status.ok()) << "on a new connection";
}

TEST(GrpcPortTest, AnIdleConnectionIsClosed) {
  FakeServer server({.yaml = "max_connection_idle: 50ms"});
  EXPECT_TRUE(server.Generate(Prompt("5", 1)).status.ok());
  EXPECT_TRUE(Eventually([&] { return !IsReady(server); }));
  EXPECT_TRUE(server.Generate(Prompt("5", 1)).status.ok());
}

TEST(GrpcPortTest, ByDefaultConnectionsStay) {
  FakeServer server;
  const RawHttp2 connection(server.server().grpc_address());
  connection.ReadSettings();
  EXPECT_TRUE(connection.Ping());
  EXPECT_EQ(ServerConfig().max_connection_age.count(), 0);
  EXPECT_EQ(ServerConfig().max_connection_idle.count(), 0);
}

TEST(GrpcPortTest, TheDrainBeginsWithGoaway) {
  FakeServer server;
  server.gate().Close();
  Streaming running(server.stub(), Prompt("5", 3));
  server.gate().WaitArrivals(1);
  const RawHttp2 other(server.server().grpc_address());
  other.ReadSettings();
  std::thread drain([&] { EXPECT_TRUE(server.server().Drain(/*now=*/false)); });
  EXPECT_EQ(other.ReadNext(RawHttp2::kGoaway).type, RawHttp2::kGoaway);
  EXPECT_TRUE(Eventually([&] { return !IsReady(server); }));
  EXPECT_FALSE(TcpClient().Connect(server.server().grpc_address())) << "nobody new is let in";
  server.gate().Open();
  EXPECT_TRUE(running.ReadAll().ok()) << "what runs is finished";
  drain.join();
}

TEST(GrpcPortTest, TheHealthPortAnswersDuringTheDrain) {
  FakeServer server({.yaml = "health_listen: 127.0.0.1:0"});
  server.gate().Close();
  Streaming running(server.stub(), Prompt("5", 3));
  server.gate().WaitArrivals(1);
  std::thread drain([&] { EXPECT_TRUE(server.server().Drain(/*now=*/false)); });
  EXPECT_TRUE(Eventually([&] { return !IsReady(server); }));
  const auto stub = grpc::health::v1::Health::NewStub(
      grpc::CreateChannel(server.server().health_address(), grpc::InsecureChannelCredentials()));
  const auto ask = [&](const std::string& service) {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    grpc::health::v1::HealthCheckResponse response;
    EXPECT_TRUE(stub->Check(&context, request, &response).ok()) << service;
    return response.status();
  };
  EXPECT_EQ(ask(kLivenessService), grpc::health::v1::HealthCheckResponse::SERVING);
  EXPECT_EQ(ask(kReadinessService), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  server.gate().Open();
  EXPECT_TRUE(running.ReadAll().ok());
  drain.join();
}

// Says what gRPC calls the peer of a call.
class PeerService : public v1::Inference::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest*,
                                     v1::GetModelResponse* response) override {
    response->set_model_name(context->peer());
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

TEST(GrpcPortTest, TheSocketOfACallIsKnown) {
  PeerService service;
  for (const auto& [listen, connect] :
       std::vector<std::pair<std::string, std::string>>{{"127.0.0.1:0", "127.0.0.1"},
                                                        {"[::1]:0", "[::1]"},
                                                        {"[::]:0", "127.0.0.1"},
                                                        {"[::]:0", "[::1]"},
                                                        {"0.0.0.0:0", "127.0.0.1"}}) {
    const auto port = GrpcPort::Open(listen, 10, ServerConfig(), {&service});
    if (!port.ok()) GTEST_SKIP() << port.status();  // without IPv6
    const auto stub = v1::Inference::NewStub(grpc::CreateChannel(
        absl::StrFormat("%s:%d", connect, (*port)->port()), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    v1::GetModelResponse response;
    ASSERT_TRUE(stub->GetModel(&context, {}, &response).ok()) << listen << " " << connect;
    EXPECT_NE((*port)->acceptor().SocketOf(response.model_name()), -1) << response.model_name();
  }
}

// Nothing polls once a second.
TEST(GrpcPortTest, AServerStopsAtOnce) {
  auto server = std::make_unique<FakeServer>();
  EXPECT_TRUE(server->Generate(Prompt("5", 1)).status.ok());
  const auto begin = std::chrono::steady_clock::now();
  server.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(1500));
}

TEST(GrpcPortTest, ListensOnIpv6) {
  HealthService health;
  const auto port = GrpcPort::Open("[::1]:0", /*max_connections=*/10, ServerConfig(), {&health});
  if (!port.ok()) GTEST_SKIP() << "no IPv6 here: " << port.status();
  const auto stub = grpc::health::v1::Health::NewStub(grpc::CreateChannel(
      absl::StrFormat("[::1]:%d", (*port)->port()), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckResponse response;
  EXPECT_TRUE(stub->Check(&context, {}, &response).ok());
}

// What server reflection answers to "list_services", as bytes; empty: it is not there.
std::string ListedServices(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  void* tag = nullptr;
  const auto done = [&] {
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  call->StartCall(&tag);
  done();
  const grpc::Slice ask("\x3a\x00", 2);  // field 7, an empty text
  call->WriteLast(grpc::ByteBuffer(&ask, 1), grpc::WriteOptions(), &tag);
  done();
  grpc::ByteBuffer answer;
  call->Read(&answer, &tag);
  done();
  grpc::Status status;
  call->Finish(&status, &tag);
  done();
  grpc::Slice text;
  if (!status.ok() || !answer.DumpToSingleSlice(&text).ok()) return "";
  return {reinterpret_cast<const char*>(text.begin()), text.size()};
}

TEST(GrpcPortTest, ListsItsServicesUnlessToldNotTo) {
  FakeServer open;
  EXPECT_THAT(ListedServices(open.channel()), HasSubstr("skipstone.v1.Inference"));
  EXPECT_THAT(ListedServices(open.channel()), HasSubstr("vllm.grpc.engine.VllmEngine"));
  FakeServer silent({.yaml = "reflection: false"});
  EXPECT_EQ(ListedServices(silent.channel()), "");
  EXPECT_TRUE(silent.Generate(Prompt("5 6 7", 2)).status.ok());
}

}  // namespace
}  // namespace skipstone::server
