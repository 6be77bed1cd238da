#include "client/cli/sweep_calls.h"

#include <cmath>
#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/cli/fake_model.h"
#include "tests/client/scripted_server.h"
#include "tests/server/fake_server.h"

namespace skipstone::client {
namespace {

using server::FakeServer;
using testing::AllOf;
using testing::ElementsAreArray;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

constexpr char kHalf[] = "attn:2-3";

// A sweep of two skips, on what a test puts into the files.
class SweepCallsTest : public testing::Test {
 protected:
  template <class Result>
  Result Measure(const SweepKey& key) {
    const auto result = TryMeasure(key);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? std::get<Result>(*result) : Result();
  }
  absl::StatusOr<SweepResult> TryMeasure(const SweepKey& key) {
    const Client client(server_.channel());
    const CallOptions options;
    auto plan = MakeSweepPlan(client, options, {"none", kHalf}, files_, settings_);
    if (!plan.ok()) return plan.status();
    return SweepCalls(client, options, *plan).Measure(key);
  }

  FakeServer server_;
  SweepFiles files_;
  SweepSettings settings_ = {.window = 4, .max_tokens = 6};
};

TEST_F(SweepCallsTest, AWindowIsScoredUnderItsSkip) {
  files_.text = std::string("1 2 3 4 5 6 7 8");
  for (const auto& [skip, spec] : {std::pair(0, "none"), {1, kHalf}}) {
    const auto result = Measure<TextResult>({SweepTask::kText, 1, skip});
    EXPECT_EQ(result.sums.tokens, 3);
    EXPECT_NEAR(result.sums.nll, -FakeLogprobSum({5, 6, 7, 8}, spec), 1e-5);
  }
}

// Measures against a server that scores so.
template <class Result>
Result Scripted(const SweepPlan& plan, const SweepKey& key,
                std::function<void(const v1::ScoreRequest&, v1::ScoreResponse&)> score) {
  ScriptedServer server;
  server.Answer<v1::ScoreRequest, v1::ScoreResponse>(std::move(score));
  const Client client(server.address());
  const CallOptions options;
  const auto result = SweepCalls(client, options, plan).Measure(key);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? std::get<Result>(*result) : Result();
}

TEST(SweepCallsScriptedTest, ConfidenceIsTheLikeliestTokens) {
  SweepPlan plan;
  plan.skips.resize(1);
  plan.windows.resize(1);
  const auto result =
      Scripted<TextResult>(plan, {SweepTask::kText, 0, 0}, [](const auto& request, auto& response) {
        EXPECT_EQ(request.top_logprobs(), 1);
        v1::ScoreResult& scored = *response.add_results();
        for (const auto& [id, likeliest] : {std::pair(5, 5), {6, 9}}) {
          v1::Token& token = *scored.add_tokens();
          token.set_id(id);
          token.set_logprob(std::log(id == likeliest ? 0.5f : 0.125f));
          token.add_top()->set_id(likeliest);
          token.mutable_top(0)->set_logprob(std::log(0.5f));
        }
      });
  EXPECT_THAT(result.likeliest, testing::ElementsAre(5, 9));
  EXPECT_EQ(result.sums.tokens, 2);
  EXPECT_NEAR(result.sums.nll, std::log(16), 1e-6);
  EXPECT_NEAR(result.sums.brier, 0.25 + 0.25, 1e-6);
  EXPECT_EQ(result.sums.bins[7].tokens, 2);
  EXPECT_EQ(result.sums.bins[7].correct, 1);
}

TEST(SweepCallsScriptedTest, ChoicesFollowTheQuestion) {
  SweepPlan plan;
  plan.files.choices = {{1, "Question: why?\nAnswer:", {" so", " because"}, {2, 7}, 1}};
  plan.skips = {{.name = "half"}};
  plan.skips[0].skip.set_level("half");
  const auto result = Scripted<ChoicesResult>(
      plan, {SweepTask::kChoices, 0, 0}, [](const auto& request, auto& response) {
        for (const v1::ScoreItem& item : request.items()) {
          EXPECT_EQ(item.prompt().text(), "Question: why?\nAnswer:");
          response.add_results()->set_logprob_sum(-1.0 * item.continuation().text().size());
        }
        EXPECT_EQ(request.skip().level(), "half");
      });
  // With the blank in front.
  EXPECT_THAT(result.loglikelihood, testing::ElementsAre(-3, -8));
}

TEST(SweepCallsScriptedTest, ItemsOfIdsGoOutAsTheyAre) {
  using Ids = std::vector<int32_t>;
  SweepPlan plan;
  plan.model.set_bos_token_id(1);
  plan.files.last_words = {{1, Ids{5, 6}, Ids{7}}};
  plan.skips.resize(1);
  Scripted<LastWordResult>(
      plan, {SweepTask::kLastWords, 0, 0}, [](const auto& request, auto& response) {
        EXPECT_THAT(request.items(0).prompt().token_ids().ids(), testing::ElementsAre(1, 5, 6));
        EXPECT_THAT(request.items(0).continuation().token_ids().ids(), testing::ElementsAre(7));
        response.add_results();
      });
}

TEST(SweepCallsScriptedTest, LastWordsAreMetIfGreedyDecodingGivesThem) {
  SweepPlan plan;
  plan.files.last_words = {{1, "He said", " yes"}, {2, "He said", " no"}};
  plan.skips.resize(1);
  for (const int item : {0, 1}) {
    const auto result = Scripted<LastWordResult>(
        plan, {SweepTask::kLastWords, item, 0}, [](const auto& request, auto& response) {
          EXPECT_EQ(request.items(0).prompt().text(), "He said");
          response.add_results()->set_greedy(request.items(0).continuation().text() == " yes");
          response.mutable_results(0)->set_logprob_sum(-2.5);
        });
    EXPECT_EQ(result.greedy, item == 0);
    EXPECT_EQ(result.logprob, -2.5);
  }
}

TEST(SweepCallsScriptedTest, AnswersThatLackItemsAreErrors) {
  ScriptedServer server;
  server.Answer<v1::ScoreRequest, v1::ScoreResponse>([](const auto&, auto&) {});
  SweepPlan plan;
  plan.skips.resize(1);
  plan.files.last_words = {{1, "He said", " yes"}};
  const Client client(server.address());
  const CallOptions options;
  EXPECT_EQ(
      SweepCalls(client, options, plan).Measure({SweepTask::kLastWords, 0, 0}).status().code(),
      absl::StatusCode::kInternal);
}

TEST_F(SweepCallsTest, ContinuationsAreScoredByTheFullModel) {
  files_.prompts = {{1, "1 2 3"}};
  const auto result = Measure<GenerationResult>({SweepTask::kGeneration, 0, 1});
  EXPECT_THAT(result.greedy.ids, ElementsAreArray(FakeOutput({1, 2, 3}, kHalf, 6)));
  EXPECT_EQ(result.sampled.ids.size(), 6);
  for (const Continuation* continuation : {&result.greedy, &result.sampled}) {
    Ids all = {1, 2, 3};
    all.insert(all.end(), continuation->ids.begin(), continuation->ids.end());
    EXPECT_NEAR(continuation->logprob,
                FakeLogprobSum(all, "none") - FakeLogprobSum({1, 2, 3}, "none"), 1e-5);
    EXPECT_LE(continuation->agrees, 6);
  }
  // What the full model generates is its own likeliest.
  EXPECT_EQ(Measure<GenerationResult>({SweepTask::kGeneration, 0, 0}).greedy.agrees, 6);
}

TEST_F(SweepCallsTest, TimesAreTheServersAndNoPrefixIsCached) {
  for (int run = 0; run < 2; ++run) {
    const auto full = Measure<SpeedResult>({SweepTask::kSpeed, run, 0});
    const auto half = Measure<SpeedResult>({SweepTask::kSpeed, run, 1});
    EXPECT_EQ(full.prompt_tokens, 58);
    EXPECT_EQ(full.output_tokens, 6);
    EXPECT_GE(full.prefill_ms, 0);
    EXPECT_GT(full.decode_ms, 0);
    // 63 stored tokens are 16 pages of 4 in each layer.
    EXPECT_EQ(full.kv_pages_used, 4 * 16);
    EXPECT_EQ(half.kv_pages_used, 2 * 16);
  }
  EXPECT_EQ(server_.Metric("skipstone_prefix_cache_hits_total"), 0);
}

TEST_F(SweepCallsTest, ErrorsNameItemAndSkip) {
  files_.choices = {{7, "1 2", {"3", " "}, {1, 1}, 0}};
  const auto result = TryMeasure({SweepTask::kChoices, 0, 1});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()),
              AllOf(HasSubstr("--choices line 7, skip attn:2-3: "), HasSubstr("items[1]"),
                    HasSubstr("no token to score")));
}

TEST_F(SweepCallsTest, TextsOfNoTokensAreErrors) {
  files_.last_words = {{2, "1 2", " "}};
  const auto result = TryMeasure({SweepTask::kLastWords, 0, 0});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()),
              AllOf(HasSubstr("--last_words line 2"), HasSubstr("no token to score")));
}

TEST_F(SweepCallsTest, PromptsThatAreTooLongAreErrors) {
  std::string prompt = "1";
  for (int i = 0; i < 70; ++i) prompt += " 1";
  files_.prompts = {{3, prompt}};
  const auto result = TryMeasure({SweepTask::kGeneration, 0, 0});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("--prompts line 3"));
}

}  // namespace
}  // namespace skipstone::client
