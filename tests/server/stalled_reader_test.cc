// Clients that do not read, and clients that are gone: their pages return, and nobody else notices.
#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"
#include "tests/support/tcp_relay.h"

namespace skipstone::server {
namespace {

// The echo of its text, once for each output, is more than the 4 MiB that gRPC takes in for a
// reader that reads nothing.
v1::GenerateRequest Bulky(uint32_t max_tokens) {
  v1::GenerateRequest request = Prompt(std::string(2 << 20, ' ') + "5 6 7", max_tokens);
  request.mutable_output()->set_echo(true);
  request.set_n(4);
  return request;
}

// Of its own, since a stalled stream may also use up its connection's window.
std::unique_ptr<v1::Inference::Stub> StubWithOwnConnection(FakeServer& server) {
  grpc::ChannelArguments own;
  own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return v1::Inference::NewStub(grpc::CreateCustomChannel(server.server().grpc_address(),
                                                          grpc::InsecureChannelCredentials(), own));
}

FakeServerOptions Impatient() { return Endless("stream_stall_timeout: 100ms"); }

TEST(StalledReaderTest, IsAbortedAndItsPagesReturn) {
  // No reader that reads is ever this late, on a busy machine and under sanitizers.
  FakeServer server(Endless("stream_stall_timeout: 1s"));
  Streaming stalled(server.stub(), Bulky(50000));
  const auto stub = StubWithOwnConnection(server);
  int others = 0;
  while (server.Outcomes("aborted") == 0) {
    Streaming other(*stub, Prompt("8 9", 20));
    ASSERT_TRUE(other.ReadAll().ok());
    ASSERT_EQ(other.Finished().size(), 1u);
    ++others;
  }
  EXPECT_EQ(stalled.ReadAll().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([&] { return server.Load().kv_pages_used() == 0; }));
  EXPECT_EQ(server.Outcomes("aborted"), 1);
  EXPECT_EQ(server.Outcomes("ok"), others);
  EXPECT_EQ(server.Outcomes("cancelled"), 0);
}

// Nothing runs for it any more, but its events would stay here for as long as the client does.
TEST(StalledReaderTest, LosesItsStreamThoughTheRequestHasFinished) {
  FakeServer server(Impatient());
  v1::GenerateRequest request = Bulky(2);
  request.set_request_id("same");
  Streaming stalled(server.stub(), request);
  ASSERT_TRUE(Eventually([&] { return server.Outcomes("ok") == 1; }));
  // The id is free again. Who has it now is another request.
  v1::GenerateRequest next = Prompt("8 9", 50000);
  next.set_request_id("same");
  Streaming running(server.stub(), next);
  ASSERT_TRUE(running.Read());
  // One that stalls later is given up later.
  const auto stub = StubWithOwnConnection(server);
  Streaming later(*stub, Bulky(50000));
  ASSERT_TRUE(Eventually([&] {
    running.Read();
    return server.Outcomes("aborted") == 1;
  }));
  // The first stalls only when its client has taken in what it takes unread, which takes a while.
  const auto given_up = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < given_up) running.Read();
  EXPECT_EQ(stalled.ReadAll().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(running.Read());
  EXPECT_EQ(later.ReadAll().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(server.Outcomes("aborted"), 1) << "the other request of that id goes on";
  running.Cancel();
}

// A unary call whose client does not read the answer: no generated stub can do that.
class UnreadCall {
 public:
  UnreadCall(FakeServer& server, const std::string& method, const std::string& request)
      : stub_(grpc::CreateCustomChannel(server.server().grpc_address(),
                                        grpc::InsecureChannelCredentials(), SmallWindow())) {
    const grpc::Slice slice(request);
    const grpc::ByteBuffer bytes(&slice, 1);
    call_ = stub_.PrepareCall(&context_, "/skipstone.v1.Inference/" + method, &queue_);
    call_->StartCall(nullptr);
    EXPECT_TRUE(Next());
    call_->WriteLast(bytes, {}, nullptr);
    EXPECT_TRUE(Next());
    call_->ReadInitialMetadata(nullptr);
    EXPECT_TRUE(Next()) << "the answer begins";
  }

  // Reads after all, and says how the call ended.
  grpc::StatusCode ReadLate() {
    grpc::ByteBuffer answer;
    call_->Read(&answer, nullptr);
    Next();
    grpc::Status status;
    call_->Finish(&status, nullptr);
    EXPECT_TRUE(Next());
    return status.error_code();
  }

 private:
  // What is taken in for a reader that does not read.
  static grpc::ChannelArguments SmallWindow() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 65535);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return arguments;
  }
  // Of the operation under way.
  bool Next() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::GenericStub stub_;
  grpc::CompletionQueue queue_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

TEST(StalledReaderTest, LosesAUnaryAnswerThatItDoesNotTake) {
  FakeServer server(Impatient());
  UnreadCall generate(server, "Generate", Bulky(2).SerializeAsString());
  EXPECT_EQ(server.Outcomes("ok"), 1) << "the request has finished";
  v1::TokenizeRequest text;
  for (int i = 0; i < 50'000; ++i) text.mutable_text()->append("55 ");
  UnreadCall tokenize(server, "Tokenize", text.SerializeAsString());
  // One that stalls later is given up later.
  const auto stub = StubWithOwnConnection(server);
  Streaming later(*stub, Bulky(50000));
  ASSERT_TRUE(Eventually([&] { return server.Outcomes("aborted") == 1; }));
  EXPECT_EQ(generate.ReadLate(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(tokenize.ReadLate(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(server.Generate(Prompt("5", 1)).status.ok());
  EXPECT_EQ(later.ReadAll().error_code(), grpc::StatusCode::CANCELLED);
}

TEST(StalledReaderTest, ReadsInTimeAreEnough) {
  FakeServer server(Impatient());
  Streaming slow(server.stub(), Bulky(3));
  EXPECT_TRUE(slow.ReadAll().ok());
  EXPECT_EQ(slow.Finished().size(), 4u);
  EXPECT_EQ(server.Outcomes("aborted"), 0);
}

TEST(StalledReaderTest, AClientThatVanishesFreesItsPages) {
  FakeServer server(Endless());
  const std::string address = server.server().grpc_address();
  TcpRelay relay(std::stoi(address.substr(address.rfind(':') + 1)));
  const auto stub = v1::Inference::NewStub(
      grpc::CreateChannel(relay.address(), grpc::InsecureChannelCredentials()));
  Streaming gone(*stub, Prompt("5 6 7", 50000));
  ASSERT_TRUE(gone.Read());
  Streaming other(server.stub(), Prompt("8 9", 50000));
  ASSERT_TRUE(other.Read());
  relay.Break();
  EXPECT_TRUE(Eventually([&] { return server.Outcomes("cancelled") == 1; }));
  EXPECT_EQ(gone.ReadAll().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(server.Load().running(), 1u);
  EXPECT_TRUE(other.Read());
  other.Cancel();
  EXPECT_TRUE(Eventually([&] { return server.Load().kv_pages_used() == 0; }));
}

}  // namespace
}  // namespace skipstone::server
