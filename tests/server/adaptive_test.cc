// Skipping that follows the load: what a request with a ceiling gets, and is told.
#include <memory>
#include <string>
#include <vector>

#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"

namespace skipstone::server {
namespace {

constexpr int kLayers = 4;
constexpr int kVocab = 100;

const std::string kLevels = "levels: {full: none, deep: 'attn:last=2'}\n";

v1::GenerateRequest Adaptive(uint32_t max_tokens) {
  v1::GenerateRequest request = Prompt("5 6 7", max_tokens);
  request.mutable_skip()->set_level("full");
  request.mutable_skip()->mutable_adaptive()->set_ceiling_level("deep");
  request.mutable_output()->set_token_ids(true);
  return request;
}

// The skip set in force at each token of an output.
std::vector<SkipSet> SetsOf(const v1::Accepted& accepted, const v1::Finished& finished) {
  const auto parse = [](const v1::AppliedSkip& applied) {
    return ParseSkipSet(applied.spec(), kLayers).value();
  };
  std::vector<SkipSet> sets(finished.usage().completion_tokens(), parse(accepted.applied_skip()));
  for (const v1::AppliedRange& range : finished.applied()) {
    std::fill(sets.begin() + range.from_token(), sets.end(), parse(range.applied_skip()));
  }
  return sets;
}

// Each token is what its set draws after the tokens before it.
void CheckTokens(const v1::GenerateOutput& output, const v1::Accepted& accepted) {
  std::vector<int32_t> tokens = {5, 6, 7};
  const std::vector<SkipSet> sets = SetsOf(accepted, output.finished());
  ASSERT_EQ(output.delta().tokens_size(), static_cast<int>(sets.size()));
  for (size_t i = 0; i < sets.size(); ++i) {
    EXPECT_EQ(static_cast<int32_t>(output.delta().tokens(static_cast<int>(i)).id()),
              FakeToken(tokens, sets[i], kVocab))
        << "token " << i << " under " << sets[i].ToString();
    tokens.push_back(static_cast<int32_t>(output.delta().tokens(static_cast<int>(i)).id()));
  }
}

TEST(AdaptiveTest, WithoutLoadTheChoiceRuns) {
  FakeServer server({.yaml = kLevels});
  const auto answer = server.Generate(Adaptive(5));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.response.accepted().applied_skip().spec(), "none");
  EXPECT_FALSE(answer.response.accepted().browned_out());
  EXPECT_EQ(answer.response.outputs(0).finished().applied_size(), 0);
  EXPECT_EQ(server.Metric("skipstone_brownouts_total"), 0);
  CheckTokens(answer.response.outputs(0), answer.response.accepted());
}

// While one request runs, so that pages are in use, the others start.
void CheckBrownOut(const std::string& marks, bool browned_out) {
  FakeServer server({.yaml = kLevels + marks});
  server.gate().Close();
  Streaming running(server.stub(), Prompt("1 2 3 4 5", 4));
  server.gate().WaitArrivals(1);
  Streaming adaptive(server.stub(), Adaptive(5));
  Streaming fixed(server.stub(), Prompt("5 6 7", 5));
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 2; }));
  server.gate().Open();
  for (Streaming* stream : {&running, &adaptive, &fixed}) ASSERT_TRUE(stream->ReadAll().ok());
  const v1::Accepted& accepted = adaptive.events()[0].accepted();
  EXPECT_EQ(accepted.browned_out(), browned_out);
  EXPECT_EQ(accepted.applied_skip().level(), browned_out ? "deep" : "full");
  EXPECT_EQ(accepted.applied_skip().spec(), browned_out ? "attn:2-3" : "none");
  EXPECT_EQ(fixed.events()[0].accepted().applied_skip().level(), "full");
  EXPECT_FALSE(fixed.events()[0].accepted().browned_out()) << "it did not allow it";
  EXPECT_EQ(CopyOf(adaptive.context().GetServerTrailingMetadata()).at("skipstone-level"), "full")
      << "the requested one";
  EXPECT_EQ(server.Metric("skipstone_brownouts_total", {"skip_level=\"full\""}), browned_out);
  EXPECT_EQ(server.Metric("skipstone_requests_total", {"skip_level=\"full\""}), 3);
}

TEST(AdaptiveTest, StartsAtItsCeilingWhileTheQueueIsAboveTheMark) {
  CheckBrownOut("brownout: {queue: 0, pages: 2}", true);
}

TEST(AdaptiveTest, StartsAtItsCeilingWhileThePagesAreAboveTheMark) {
  CheckBrownOut("brownout: {queue: 2, pages: 0}", true);
}

TEST(AdaptiveTest, MarksAboveOneAreNeverReached) {
  CheckBrownOut("brownout: {queue: 2, pages: 2}", false);
}

TEST(AdaptiveTest, ShedsLayersWhenThePagesRunOutAndSaysSo) {
  // Two requests of 4 + 20 tokens keep 4 x 6 pages each at their ends, and 2 x 6 at the ceiling.
  FakeServer server({.yaml = kLevels + "brownout: {queue: 2, pages: 2}", .num_pages = 28});
  server.gate().Close();
  std::vector<v1::GenerateResponse> answers(2);
  std::vector<std::thread> callers;
  for (v1::GenerateResponse& answer : answers) {
    callers.emplace_back([&] {
      const auto call = server.Generate(Adaptive(21));
      EXPECT_TRUE(call.status.ok()) << call.status.error_message();
      answer = call.response;
    });
  }
  server.gate().WaitArrivals(1);
  ASSERT_TRUE(Eventually([&] {
    const v1::GetLoadResponse load = server.Load();
    return load.running() + load.waiting() == 2;
  }));
  server.gate().Open();
  for (std::thread& caller : callers) caller.join();
  int shed = 0;
  for (const v1::GenerateResponse& answer : answers) {
    ASSERT_EQ(answer.outputs_size(), 1);
    const v1::Finished& finished = answer.outputs(0).finished();
    CheckTokens(answer.outputs(0), answer.accepted());
    if (finished.applied_size() == 0) continue;
    ++shed;
    EXPECT_EQ(finished.applied(0).from_token(), 0u);
    EXPECT_EQ(finished.applied(0).applied_skip().level(), "full");
    EXPECT_GE(finished.applied_size(), 2);
    EXPECT_FALSE(answer.accepted().browned_out());
    const auto kept =
        kLayers - static_cast<uint64_t>(
                      finished.applied().rbegin()->applied_skip().layers().attention_size());
    EXPECT_EQ(finished.kv_pages_used(), kept * 6);
  }
  EXPECT_GT(shed, 0);
  EXPECT_GE(server.Metric("skipstone_shed_attention_layers_total"), shed);
  EXPECT_GT(server.Metric("skipstone_shed_pages_total"), 0);
  EXPECT_EQ(server.Metric("skipstone_kv_pages", {"state=\"used\""}), 0);
}

}  // namespace
}  // namespace skipstone::server
