#include "client/cli/load_stream.h"

#include <future>

#include "client/channel.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/scripted_server.h"

namespace skipstone::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

v1::GenerateEvent Tokens(int count) {
  v1::GenerateEvent event = DeltaEvent("text");
  for (int i = 0; i < count; ++i) event.mutable_delta()->add_tokens()->set_id(i);
  return event;
}

// The record of one call.
LoadRecord RunOne(ScriptedServer& server, const CallOptions& options = {}) {
  const auto stub = v1::Inference::NewStub(MakeChannel(server.address()));
  v1::GenerateRequest request;
  request.set_text("a");
  LoadRecord planned;
  planned.part = 3;
  planned.due = steady_clock::now() - milliseconds(500);
  std::promise<LoadRecord> done;
  LoadStream::Start(*stub, request, options, planned,
                    [&](LoadRecord record) { done.set_value(std::move(record)); });
  return done.get_future().get();
}

TEST(LoadStreamTest, RecordsTokensTimesAndPages) {
  ScriptedServer server;
  server.SetStream([](grpc::ServerContext&, ScriptedServer::Writer& writer) {
    v1::GenerateEvent accepted;
    accepted.mutable_accepted()->set_prompt_tokens(11);
    accepted.mutable_accepted()->set_browned_out(true);
    writer.Write(accepted);
    writer.Write(Tokens(1));
    writer.Write(Tokens(2));
    writer.Write(DeltaEvent("held back text"));  // no token, no gap
    writer.Write(Tokens(1));
    v1::GenerateEvent finished = FinishedEvent(v1::MAX_TOKENS);
    finished.mutable_finished()->set_kv_pages_used(8);
    finished.mutable_finished()->set_kv_pages_windowed(6);
    finished.mutable_finished()->set_kv_pages_omitted(4);
    finished.mutable_finished()->add_applied()->set_from_token(2);
    writer.Write(finished);
    return grpc::Status::OK;
  });
  const LoadRecord record = RunOne(server);
  EXPECT_TRUE(record.ok()) << record.status;
  EXPECT_EQ(record.part, 3);
  EXPECT_EQ(record.prompt_tokens, 11);
  EXPECT_EQ(record.output_tokens, 4);
  EXPECT_EQ(record.kv_pages_used, 8);
  EXPECT_EQ(record.kv_pages_windowed, 6);
  EXPECT_EQ(record.kv_pages_omitted, 4);
  EXPECT_TRUE(record.browned_out);
  EXPECT_TRUE(record.shed);
  ASSERT_EQ(record.gaps.size(), 2);
  EXPECT_GE(record.Lag(), milliseconds(500));
  EXPECT_GE(record.Ttft(), Seconds(record.Lag()));
  EXPECT_GE(record.E2e(), record.Ttft());
  EXPECT_EQ(record.last_token - record.first_token, record.gaps[0] + record.gaps[1]);
}

TEST(LoadStreamTest, KeepsTheStatusOfABrokenStream) {
  ScriptedServer server;
  server.SetStream([](grpc::ServerContext&, ScriptedServer::Writer& writer) {
    writer.Write(Tokens(1));
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "drained");
  });
  const LoadRecord record = RunOne(server);
  EXPECT_FALSE(record.ok());
  EXPECT_EQ(record.status, absl::UnavailableError("drained"));
  EXPECT_EQ(record.output_tokens, 1);
  EXPECT_FALSE(record.browned_out);
  EXPECT_FALSE(record.shed);
}

TEST(LoadStreamTest, DoesNotRetry) {
  ScriptedServer server;
  server.FailNext(grpc::StatusCode::UNAVAILABLE, "0");
  EXPECT_EQ(RunOne(server).status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(server.calls().size(), 1);
}

TEST(LoadStreamTest, SendsMetadataAndDeadline) {
  ScriptedServer server;
  CallOptions options;
  options.metadata = {{"x-user-id", "42"}};
  options.timeout = std::chrono::hours(1);
  const LoadRecord record = RunOne(server, options);
  EXPECT_TRUE(record.status.ok());
  EXPECT_FALSE(record.ok());  // no token
  const SeenCall call = server.calls().at(0);
  EXPECT_EQ(call.request, "text: \"a\"");
  EXPECT_EQ(call.metadata.find("x-user-id")->second, "42");
  EXPECT_LT(call.deadline, std::chrono::system_clock::now() + std::chrono::hours(2));
}

}  // namespace
}  // namespace skipstone::client
