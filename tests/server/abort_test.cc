// Whose calls Abort ends, and by which ids.
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"

namespace skipstone::server {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> Abort(v1::Inference::Stub& stub, const std::vector<std::string>& ids) {
  v1::AbortRequest request;
  for (const std::string& id : ids) request.add_request_ids(id);
  grpc::ClientContext context;
  v1::AbortResponse response;
  EXPECT_TRUE(stub.Abort(&context, request, &response).ok());
  return {response.aborted().begin(), response.aborted().end()};
}

std::unique_ptr<v1::Inference::Stub> OtherConnection(FakeServer& server) {
  grpc::ChannelArguments own;
  own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return v1::Inference::NewStub(grpc::CreateCustomChannel(server.server().grpc_address(),
                                                          grpc::InsecureChannelCredentials(), own));
}

v1::GenerateRequest Named(const std::string& id) {
  v1::GenerateRequest request = Prompt("5 6 7", 50000);
  request.set_request_id(id);
  return request;
}

// A Score call of `items` items under way.
std::future<grpc::Status> Score(FakeServer& server, const std::string& id, int items) {
  return std::async(std::launch::async, [&server, id, items] {
    v1::ScoreRequest request;
    request.set_request_id(id);
    for (int i = 0; i < items; ++i) request.add_items()->mutable_prompt()->set_text("5 6 7 8 9");
    grpc::ClientContext context;
    v1::ScoreResponse response;
    return server.stub().Score(&context, request, &response);
  });
}

TEST(AbortTest, AScoreAndAGenerateDoNotShareIds) {
  FakeServer server({.num_pages = 60000, .max_context = 60000, .max_batch_tokens = 2});
  server.gate().Close();
  auto score = Score(server, "job", 2);
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 1; }));
  Streaming first(server.stub(), Named("job#0"));
  Streaming second(server.stub(), Named("job#1"));
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 3; }));
  EXPECT_THAT(Abort(server.stub(), {"job#1"}), ElementsAre("job#1"));
  EXPECT_THAT(Abort(server.stub(), {"job"}), ElementsAre("job"));
  server.gate().Open();
  EXPECT_EQ(score.get().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_TRUE(second.ReadAll().ok());
  EXPECT_EQ(second.Finished().at(0).reason(), v1::ABORTED);
  while (first.Text().empty() && first.Read()) {
  }
  EXPECT_THAT(Abort(server.stub(), {"job", "job#1", "job#0"}), ElementsAre("job#0"));
  EXPECT_TRUE(first.ReadAll().ok());
}

TEST(AbortTest, AnIdIsOneCallsWhateverItsKind) {
  FakeServer server;
  server.gate().Close();
  Streaming stream(server.stub(), Named("job"));
  server.gate().WaitArrivals(1);
  EXPECT_EQ(Score(server, "job", 3).get().error_code(), grpc::StatusCode::ALREADY_EXISTS);
  server.gate().Open();
  EXPECT_TRUE(stream.ReadAll().ok()) << "the refusal must not touch the first";
  EXPECT_TRUE(Score(server, "job", 3).get().ok());
}

TEST(AbortTest, ASecondScoreOfTheSameIdIsRefusedAsAWhole) {
  FakeServer server({.max_batch_tokens = 2, .max_sequences = 1});
  server.gate().Close();
  auto first = Score(server, "job", 2);
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 1; }));
  EXPECT_EQ(Score(server, "job", 5).get().error_code(), grpc::StatusCode::ALREADY_EXISTS);
  server.gate().Open();
  EXPECT_TRUE(first.get().ok());
}

TEST(AbortTest, SaysAnIdOnce) {
  FakeServer server(Endless());
  Streaming stream(server.stub(), Named("mine"));
  ASSERT_TRUE(stream.Read());
  server.gate().CloseAndWait();
  EXPECT_THAT(Abort(server.stub(), {"mine", "", "mine"}), ElementsAre("mine"));
  server.gate().Open();
  EXPECT_TRUE(stream.ReadAll().ok());
}

// The device ends an item before the next is there.
TEST(AbortTest, AScoreThatIsFasterThanItsItemsComeKeepsItsId) {
  FakeServer server;
  for (int i = 0; i < 50; ++i) {
    auto first = Score(server, "job", 40);
    auto second = Score(server, "job", 40);
    const grpc::Status status[] = {first.get(), second.get()};
    EXPECT_TRUE(status[0].ok() || status[1].ok()) << "one cannot take the other's id";
  }
}

TEST(AbortTest, EndsOnlyCallsOfItsOwnConnection) {
  FakeServer server(Endless());
  const auto other = OtherConnection(server);
  Streaming stream(server.stub(), Named("mine"));
  ASSERT_TRUE(stream.Read());
  EXPECT_THAT(Abort(*other, {"mine", "nobody's"}), IsEmpty()) << "the two cannot be told apart";
  EXPECT_TRUE(stream.Read()) << "it goes on";
  EXPECT_THAT(Abort(server.stub(), {"mine"}), ElementsAre("mine"));
  EXPECT_TRUE(stream.ReadAll().ok());
}

TEST(AbortTest, EndsAnybodysCallsWhereThatIsAllowed) {
  FakeServer server(Endless("allow_abort: any"));
  const auto other = OtherConnection(server);
  Streaming stream(server.stub(), Named("mine"));
  ASSERT_TRUE(stream.Read());
  EXPECT_THAT(Abort(*other, {"mine"}), ElementsAre("mine"));
  EXPECT_TRUE(stream.ReadAll().ok());
}

}  // namespace
}  // namespace skipstone::server
