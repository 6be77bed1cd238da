#include "client/event_stream.h"

#include <future>
#include <memory>
#include <thread>

#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/scripted_server.h"
#include "tests/server/fake_server.h"
#include "tests/support/gate.h"
#include "tests/support/temp_dir.h"

namespace skipstone::client {
namespace {

using grpc::StatusCode;
using server::Eventually;
using server::FakeServer;

// A stream of `deltas` events that ends with `status`.
ScriptedServer::Stream Deltas(int deltas, grpc::Status status) {
  return [=](grpc::ServerContext& context, ScriptedServer::Writer& writer) {
    for (int i = 0; i < deltas; ++i) writer.Write(DeltaEvent(std::to_string(i)));
    context.AddTrailingMetadata("grpc-retry-pushback-ms", "0");
    return status;
  };
}

// One delta, then nothing until the client is gone; passes `gone` then.
ScriptedServer::Stream Hold(Gate& gone) {
  return [&gone](grpc::ServerContext& context, ScriptedServer::Writer& writer) {
    writer.Write(DeltaEvent("first"));
    while (!context.IsCancelled()) std::this_thread::yield();
    gone.Pass();
    return grpc::Status::CANCELLED;
  };
}

std::string ReadAll(EventStream& stream) {
  std::string text;
  v1::GenerateEvent event;
  while (stream.Next(event)) text += event.delta().text();
  return text;
}

TEST(EventStreamTest, BringsEventsInOrderThenTheStatus) {
  FakeServer server;
  const Client client(server.server().grpc_address());
  v1::GenerateRequest request = server::Prompt("5 6 7", 4);
  request.set_n(2);
  const auto stream = client.GenerateStream(request);
  EXPECT_EQ(stream->status().code(), absl::StatusCode::kFailedPrecondition);
  v1::GenerateEvent event;
  ASSERT_TRUE(stream->Next(event));
  EXPECT_EQ(event.accepted().prompt_tokens(), 3);
  EXPECT_EQ(stream->status().code(), absl::StatusCode::kFailedPrecondition);
  int deltas = 0;
  int finished = 0;
  while (stream->Next(event)) {
    deltas += event.has_delta();
    finished += event.has_finished();
  }
  EXPECT_GE(deltas, 2);
  EXPECT_EQ(finished, 2);
  EXPECT_TRUE(stream->status().ok()) << stream->status();
  EXPECT_FALSE(stream->Next(event));
  EXPECT_TRUE(stream->status().ok());
}

TEST(EventStreamTest, SendsRequestMetadataAndDeadline) {
  ScriptedServer server;
  v1::GenerateRequest request;
  request.set_text("a");
  CallOptions options;
  options.metadata = {{"x-user-id", "42"}};
  options.timeout = std::chrono::hours(1);
  const auto stream = Client(server.address()).GenerateStream(request, options);
  EXPECT_EQ(ReadAll(*stream), "");
  EXPECT_TRUE(stream->status().ok());
  ASSERT_EQ(server.calls().size(), 1);
  const SeenCall call = server.calls()[0];
  EXPECT_EQ(call.request, request.ShortDebugString());
  EXPECT_EQ(call.metadata.find("x-user-id")->second, "42");
  EXPECT_LT(call.deadline, std::chrono::system_clock::now() + std::chrono::hours(2));
}

TEST(EventStreamTest, RetriesBeforeTheFirstEvent) {
  ScriptedServer server;
  server.SetStream(Deltas(3, grpc::Status::OK));
  server.FailNext(StatusCode::UNAVAILABLE, "0");
  server.FailNext(StatusCode::RESOURCE_EXHAUSTED, "0");
  CallOptions options;
  options.metadata = {{"x-user-id", "42"}};
  const auto stream = Client(server.address()).GenerateStream({}, options);
  EXPECT_EQ(ReadAll(*stream), "012");
  EXPECT_TRUE(stream->status().ok()) << stream->status();
  ASSERT_EQ(server.calls().size(), 3);
  EXPECT_EQ(server.calls()[2].metadata.count("x-user-id"), 1);
}

TEST(EventStreamTest, DoesNotRetryAfterTheFirstEvent) {
  ScriptedServer server;
  server.SetStream(Deltas(1, grpc::Status(StatusCode::UNAVAILABLE, "drained")));
  const auto stream = Client(server.address()).GenerateStream({});
  EXPECT_EQ(ReadAll(*stream), "0");
  EXPECT_EQ(stream->status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(stream->status().message(), "drained");
  EXPECT_EQ(server.calls().size(), 1);
}

TEST(EventStreamTest, RetriesAreBounded) {
  ScriptedServer server;
  for (int i = 0; i < 10; ++i) server.FailNext(StatusCode::UNAVAILABLE, "0");
  CallOptions options;
  options.retry.max_attempts = 4;
  const auto stream = Client(server.address()).GenerateStream({}, options);
  EXPECT_EQ(ReadAll(*stream), "");
  EXPECT_EQ(stream->status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(server.calls().size(), 4);
}

TEST(EventStreamTest, ARequestThatIsTooLargeIsNotSent) {
  ScriptedServer server;
  v1::GenerateRequest request;
  request.set_text(std::string(5 << 20, 'x'));
  const auto stream = Client(server.address()).GenerateStream(request);
  EXPECT_EQ(ReadAll(*stream), "");
  EXPECT_EQ(stream->status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(stream->status().message()), testing::HasSubstr("text: 5242885"));
  EXPECT_TRUE(server.calls().empty());
}

TEST(EventStreamTest, WaitsForAServerThatComesBack) {
  const TempDir dir;
  const std::string address = "unix:" + dir.path() + "/socket";
  const Client client(address);
  const auto stream = client.GenerateStream({});
  auto text = std::async(std::launch::async, [&] { return ReadAll(*stream); });
  // Longer than all retries took that did not wait for the connection.
  ASSERT_EQ(text.wait_for(std::chrono::seconds(1)), std::future_status::timeout);
  ScriptedServer server(address);
  server.SetStream(Deltas(2, grpc::Status::OK));
  EXPECT_EQ(text.get(), "01");
  EXPECT_TRUE(stream->status().ok()) << stream->status();
}

TEST(EventStreamTest, ObeysAServerThatSaysDoNotRetry) {
  ScriptedServer server;
  server.FailNext(StatusCode::RESOURCE_EXHAUSTED, "-1");
  const auto stream = Client(server.address()).GenerateStream({});
  EXPECT_EQ(ReadAll(*stream), "");
  EXPECT_EQ(stream->status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(server.calls().size(), 1);
}

TEST(EventStreamTest, DestructionMidStreamCancelsTheCall) {
  Gate gone;  // outlives the server, whose threads pass it
  ScriptedServer server;
  server.SetStream(Hold(gone));
  auto stream = Client(server.address()).GenerateStream({});
  v1::GenerateEvent event;
  ASSERT_TRUE(stream->Next(event));
  stream.reset();
  gone.WaitArrivals(1);
}

TEST(EventStreamTest, DestructionWithMessagesUnreadCancelsTheCall) {
  Gate gone;  // outlives the server, whose threads pass it
  ScriptedServer server;
  server.SetStream([&gone](grpc::ServerContext&, ScriptedServer::Writer& writer) {
    // More than the transport holds: it stops at flow control until the client is gone.
    while (writer.Write(DeltaEvent(std::string(100'000, 'x')))) {
    }
    gone.Pass();
    return grpc::Status::OK;
  });
  auto stream = Client(server.address()).GenerateStream({});
  v1::GenerateEvent event;
  ASSERT_TRUE(stream->Next(event));
  stream.reset();
  gone.WaitArrivals(1);
}

TEST(EventStreamTest, DestructionFreesThePagesOfARealServer) {
  FakeServer server({.num_pages = 60000, .max_context = 60000});
  auto stream = Client(server.server().grpc_address()).GenerateStream(server::Prompt("5", 50000));
  v1::GenerateEvent event;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(stream->Next(event));
  stream.reset();
  EXPECT_TRUE(Eventually([&] { return server.Outcomes("cancelled") == 1; }));
  EXPECT_TRUE(Eventually([&] { return server.Load().kv_pages_used() == 0; }));
}

TEST(EventStreamTest, CancellationEndsTheStream) {
  Gate gone;  // outlives the server, whose threads pass it
  ScriptedServer server;
  server.SetStream(Hold(gone));
  Cancellation cancellation;
  CallOptions options;
  options.cancellation = &cancellation;
  const auto stream = Client(server.address()).GenerateStream({}, options);
  v1::GenerateEvent event;
  ASSERT_TRUE(stream->Next(event));
  std::thread other([&] { cancellation.Cancel(); });
  EXPECT_FALSE(stream->Next(event));
  EXPECT_EQ(stream->status().code(), absl::StatusCode::kCancelled);
  other.join();
  gone.WaitArrivals(1);
}

TEST(EventStreamTest, DeadlineEndsTheStream) {
  Gate gone;  // outlives the server, whose threads pass it
  ScriptedServer server;
  server.SetStream(Hold(gone));
  CallOptions options;
  options.timeout = std::chrono::milliseconds(200);
  const auto stream = Client(server.address()).GenerateStream({}, options);
  ReadAll(*stream);
  EXPECT_EQ(stream->status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(EventStreamTest, MetadataThatCannotBeSentIsAnError) {
  ScriptedServer server;
  CallOptions options;
  options.metadata = {{"Bad Key", "1"}};
  const auto stream = Client(server.address()).GenerateStream({}, options);
  v1::GenerateEvent event;
  EXPECT_FALSE(stream->Next(event));
  EXPECT_EQ(stream->status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(server.calls().empty());
}

TEST(EventStreamTest, OutlivesItsClient) {
  ScriptedServer server;
  server.SetStream(Deltas(2, grpc::Status::OK));
  server.FailNext(StatusCode::UNAVAILABLE, "0");  // the retry needs the stub
  auto client = std::make_unique<Client>(server.address());
  const auto stream = client->GenerateStream({});
  client.reset();
  EXPECT_EQ(ReadAll(*stream), "01");
}

}  // namespace
}  // namespace skipstone::client
