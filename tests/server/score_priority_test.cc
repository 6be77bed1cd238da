// A Score call of many texts holds nobody up.
#include <future>
#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "tests/server/fake_server.h"

namespace skipstone::server {
namespace {

// A generation of two tokens comes when a Score call of 64 texts, 80 steps of work, has begun.
// Returns how it ended within 10 steps.
grpc::StatusCode ShortCallBehindAScore(std::optional<int> priority) {
  FakeServer server;
  server.gate().Close();
  auto scored = std::async(std::launch::async, [&] {
    v1::ScoreRequest request;
    for (int i = 0; i < 64; ++i) {
      std::string text = std::to_string(i);  // no prefix in common
      for (int k = 0; k < 20; ++k) text += " " + std::to_string(k);
      request.add_items()->mutable_prompt()->set_text(text);
    }
    if (priority) request.set_priority(*priority);
    grpc::ClientContext context;
    v1::ScoreResponse response;
    return server.stub().Score(&context, request, &response);
  });
  EXPECT_TRUE(Eventually([&] { return server.Load().waiting() == 63; }));
  auto generated = std::async(std::launch::async, [&] {
    return server.Generate(Prompt("5 6 7", 2), [](grpc::ClientContext& context) {
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    });
  });
  EXPECT_TRUE(Eventually([&] { return server.Load().waiting() == 64; }));
  server.gate().CloseFrom(11);
  const grpc::StatusCode code = generated.get().status.error_code();
  server.gate().Open();
  EXPECT_TRUE(scored.get().ok()) << "it is served in the end";
  return code;
}

TEST(ScorePriorityTest, ALowerOneLetsOthersGoFirst) {
  EXPECT_EQ(ShortCallBehindAScore(-2), grpc::StatusCode::OK);
}

TEST(ScorePriorityTest, SoDoesTheDefault) {
  EXPECT_EQ(ShortCallBehindAScore(std::nullopt), grpc::StatusCode::OK);
}

}  // namespace
}  // namespace skipstone::server
