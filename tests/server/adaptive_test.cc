// Skipping that follows the load: what a request with a ceiling gets, and is told.
#include <algorithm>
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

SkipSet SkipOf(const v1::AppliedSkip& applied) {
  return ParseSkipSet(applied.spec(), kLayers).value();
}

const v1::Accepted& AcceptedOf(const Streaming& stream) { return stream.events()[0].accepted(); }

// Each token is what the skip set in force drew after the tokens before it.
void CheckTokens(const Streaming& stream) {
  const v1::Finished finished = stream.Finished().at(0);
  std::vector<SkipSet> sets(finished.usage().completion_tokens(),
                            SkipOf(AcceptedOf(stream).applied_skip()));
  for (const v1::AppliedRange& range : finished.applied()) {
    ASSERT_LE(range.from_token(), sets.size());
    std::fill(sets.begin() + range.from_token(), sets.end(), SkipOf(range.applied_skip()));
  }
  std::vector<int32_t> tokens = {5, 6, 7};
  size_t next = 0;
  for (const v1::GenerateEvent& event : stream.events()) {
    for (const v1::Token& token : event.delta().tokens()) {
      ASSERT_LT(next, sets.size());
      EXPECT_EQ(static_cast<int32_t>(token.id()), FakeToken(tokens, sets[next], kVocab))
          << "token " << next << " under " << sets[next].ToString();
      tokens.push_back(static_cast<int32_t>(token.id()));
      ++next;
    }
  }
  EXPECT_EQ(next, sets.size());
}

TEST(AdaptiveTest, WithoutLoadTheChoiceRuns) {
  FakeServer server({.yaml = kLevels});
  Streaming stream(server.stub(), Adaptive(5));
  ASSERT_TRUE(stream.ReadAll().ok());
  EXPECT_EQ(AcceptedOf(stream).applied_skip().spec(), "none");
  EXPECT_FALSE(AcceptedOf(stream).browned_out());
  EXPECT_EQ(stream.Finished().at(0).applied_size(), 0);
  EXPECT_EQ(server.Metric("skipstone_brownouts_total"), 0);
  CheckTokens(stream);
}

// One request runs, so that pages are in use, and one waits, when the one that allows it comes.
void CheckBrownOut(const std::string& marks, bool browned_out) {
  FakeServer server({.yaml = kLevels + marks});
  server.gate().Close();
  Streaming running(server.stub(), Prompt("1 2 3 4 5", 4));
  server.gate().WaitArrivals(1);
  Streaming fixed(server.stub(), Prompt("5 6 7", 5));
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 1; })) << "before the next comes";
  Streaming adaptive(server.stub(), Adaptive(5));
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 2; }));
  server.gate().Open();
  for (Streaming* stream : {&running, &adaptive, &fixed}) ASSERT_TRUE(stream->ReadAll().ok());
  const v1::Accepted& accepted = AcceptedOf(adaptive);
  CheckTokens(adaptive);
  EXPECT_EQ(accepted.browned_out(), browned_out);
  EXPECT_EQ(accepted.applied_skip().level(), browned_out ? "deep" : "full");
  EXPECT_EQ(accepted.applied_skip().spec(), browned_out ? "attn:2-3" : "none");
  EXPECT_EQ(AcceptedOf(fixed).applied_skip().level(), "full");
  EXPECT_FALSE(AcceptedOf(fixed).browned_out()) << "it did not allow it";
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

TEST(AdaptiveTest, TheLoadSaysHowMuchIsTakenAway) {
  FakeServer server(Endless(kLevels + "brownout: {queue: 2, pages: 0}\nmax_sequences: 8"));
  EXPECT_EQ(server.Load().saturation(), 0);
  Streaming fixed(server.stub(), Prompt("5 6 7", 50000));
  ASSERT_TRUE(fixed.Read());
  EXPECT_EQ(server.Load().shed_level(), 0);
  Streaming adaptive(server.stub(), Adaptive(50000));
  ASSERT_TRUE(adaptive.Read());
  EXPECT_TRUE(AcceptedOf(adaptive).browned_out());
  // Of two times four layers two.
  ASSERT_TRUE(Eventually([&] { return server.Load().shed_level() == 0.25; }));
  EXPECT_EQ(server.Metric("skipstone_shed_level"), 0.25);
  EXPECT_EQ(server.Load().saturation(), 0.25) << "two of eight sequences run";
  EXPECT_EQ(server.Metric("skipstone_saturation"), 0.25);
  adaptive.Cancel();
  ASSERT_TRUE(Eventually([&] { return server.Load().shed_level() == 0; })) << "restored";
  fixed.Cancel();
  ASSERT_TRUE(Eventually([&] { return server.Load().saturation() == 0; }));
}

TEST(AdaptiveTest, ShedsLayersWhenThePagesRunOutAndSaysSo) {
  // At their ends two requests of 23 stored tokens keep 4 x 6 pages each, or 2 x 6 at the ceiling.
  FakeServer server({.yaml = kLevels + "brownout: {queue: 2, pages: 2}", .num_pages = 28});
  server.gate().Close();
  Streaming older(server.stub(), Adaptive(21));
  server.gate().WaitArrivals(1);
  v1::GenerateRequest separate = Adaptive(21);
  separate.set_cache_salt("its own");  // equal texts would share their pages
  Streaming younger(server.stub(), separate);
  ASSERT_TRUE(Eventually([&] { return server.Load().waiting() == 1; }));
  server.gate().Open();
  int shed = 0;
  for (Streaming* stream : {&older, &younger}) {
    ASSERT_TRUE(stream->ReadAll().ok());
    EXPECT_FALSE(AcceptedOf(*stream).browned_out());
    CheckTokens(*stream);
    const v1::Finished finished = stream->Finished().at(0);
    if (finished.applied_size() == 0) continue;
    ++shed;
    EXPECT_GE(finished.applied_size(), 2);
    EXPECT_EQ(finished.applied(0).from_token(), 0u);
    EXPECT_EQ(finished.applied(0).applied_skip().level(), "full");
    const SkipSet last = SkipOf(finished.applied().rbegin()->applied_skip());
    EXPECT_GT(last.SkippedAttention(), 0);
    EXPECT_LE(last.SkippedAttention(), 2);
    EXPECT_EQ(finished.kv_pages_used(),
              static_cast<uint64_t>(kLayers - last.SkippedAttention()) * 6);
  }
  EXPECT_GT(shed, 0);
  EXPECT_GE(server.Metric("skipstone_shed_attention_layers_total"), shed);
  EXPECT_GT(server.Metric("skipstone_shed_pages_total"), 0);
  EXPECT_EQ(server.Load().kv_pages_used(), 0u);
}

}  // namespace
}  // namespace skipstone::server
