#include "client/cli/load_runner.h"

#include <algorithm>
#include <sstream>

#include "client/channel.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/scripted_server.h"

namespace skipstone::client {
namespace {

using testing::AllOf;
using testing::Each;
using testing::Ge;
using testing::Lt;

TEST(LoadRunnerTest, RequestsAreRandomIdsOfTheVocabularyWithoutControlTokens) {
  const PlannedRequest planned{.prompt_tokens = 2000, .output_tokens = 7, .seed = 5};
  v1::Skip skip;
  skip.set_level("deep");
  const v1::GenerateRequest request =
      MakeLoadRequest(planned, skip, {.vocab_size = 10, .bos_token_id = 1});
  std::vector<uint32_t> ids(request.token_ids().ids().begin(), request.token_ids().ids().end());
  ASSERT_EQ(ids.size(), 2000);
  EXPECT_EQ(ids[0], 1);
  ids.erase(ids.begin());
  EXPECT_THAT(ids, Each(AllOf(Ge(3), Lt(10))));
  for (uint32_t id = 3; id < 10; ++id) EXPECT_GT(std::count(ids.begin(), ids.end(), id), 200);
  EXPECT_EQ(request.skip().level(), "deep");
  EXPECT_EQ(request.sampling().temperature(), 0);
  EXPECT_TRUE(request.sampling().has_temperature());
  EXPECT_EQ(request.stopping().max_tokens(), 7);
  EXPECT_TRUE(request.stopping().ignore_eos());
  EXPECT_TRUE(request.output().token_ids());
}

TEST(LoadRunnerTest, ACeilingIsSentWithoutAChoiceToo) {
  const PlannedRequest planned{.prompt_tokens = 2, .output_tokens = 1};
  v1::Skip skip;
  EXPECT_FALSE(MakeLoadRequest(planned, skip, {.vocab_size = 10}).has_skip());
  skip.mutable_adaptive()->set_ceiling_level("deep");
  const v1::GenerateRequest request = MakeLoadRequest(planned, skip, {.vocab_size = 10});
  EXPECT_EQ(request.skip().adaptive().ceiling_level(), "deep");
  EXPECT_EQ(request.skip().choice_case(), v1::Skip::CHOICE_NOT_SET);
}

TEST(LoadRunnerTest, RequestsOfOneSeedAreEqual) {
  PlannedRequest planned{.prompt_tokens = 20, .output_tokens = 1, .seed = 5};
  const auto text = [&] {
    return MakeLoadRequest(planned, {}, {.vocab_size = 1000}).ShortDebugString();
  };
  const std::string first = text();
  EXPECT_EQ(text(), first);
  EXPECT_EQ(first.find("skip"), std::string::npos);
  planned.seed = 6;
  EXPECT_NE(text(), first);
}

TEST(LoadRunnerTest, TinyVocabulariesHaveAnId) {
  const PlannedRequest planned{.prompt_tokens = 3, .output_tokens = 1, .seed = 5};
  EXPECT_EQ(MakeLoadRequest(planned, {}, {.vocab_size = 1}).token_ids().ids_size(), 3);
  EXPECT_EQ(MakeLoadRequest(planned, {}, {.vocab_size = 2}).token_ids().ids(0), 1);
}

TEST(LoadRunnerTest, OpenLoopStartsRequestsWhenTheyAreDue) {
  ScriptedServer server;
  server.SetStream([](grpc::ServerContext&, ScriptedServer::Writer& writer) {
    v1::GenerateEvent event = DeltaEvent("x");
    event.mutable_delta()->add_tokens();
    writer.Write(event);
    return grpc::Status::OK;
  });
  WorkloadOptions options;
  for (const int ms : {0, 50, 50, 100})
    options.trace.push_back({std::chrono::milliseconds(ms), 1, 1});
  Workload workload(options, *ParseMix("a"));
  const std::vector<v1::Skip> skips(1);
  const auto stub = v1::Inference::NewStub(MakeChannel(server.address()));
  std::ostringstream err;
  ProgressLine progress(err, /*terminal=*/true);
  std::vector<LoadRecord> records =
      LoadRunner(*stub, CallOptions(), {.vocab_size = 5}).Run(workload, skips, 0, progress);
  ASSERT_EQ(records.size(), 4);
  std::sort(records.begin(), records.end(),
            [](const auto& a, const auto& b) { return a.due < b.due; });
  EXPECT_EQ(records[1].due - records[0].due, std::chrono::milliseconds(50));
  EXPECT_EQ(records[2].due, records[1].due);
  EXPECT_EQ(records[3].due - records[0].due, std::chrono::milliseconds(100));
  for (const LoadRecord& record : records) {
    EXPECT_TRUE(record.ok()) << record.status;
    EXPECT_GE(record.Lag(), Duration(0));
  }
  EXPECT_TRUE(err.str().ends_with("\r\x1b[K"));
}

}  // namespace
}  // namespace skipstone::client
