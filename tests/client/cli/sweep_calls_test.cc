#include "client/cli/sweep_calls.h"

#include <cmath>

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

TEST_F(SweepCallsTest, AWindowsTokensAreSummed) {
  files_.text = "1 2 3 4 5 6 7 8";
  for (const auto& [skip, spec] : {std::pair(0, "none"), {1, kHalf}}) {
    const auto result = Measure<TextResult>({SweepTask::kText, 1, skip});
    const Ids window = {5, 6, 7, 8};
    EXPECT_EQ(result.sums.tokens, 3);
    EXPECT_NEAR(result.sums.nll, -FakeLogprobSum(window, spec), 1e-5);
    double brier = 0;
    for (size_t i = 1; i < 4; ++i) {
      const std::span before(window.data(), i);
      const int32_t likeliest = FakeToken(before, FakeSkip(spec), 100);
      EXPECT_EQ(result.likeliest[i - 1], likeliest);
      const double confidence = std::exp(FakeLogprob(before, FakeSkip(spec), likeliest));
      brier += std::pow(confidence - (likeliest == window[i]), 2);
    }
    EXPECT_NEAR(result.sums.brier, brier, 1e-5);
  }
}

TEST_F(SweepCallsTest, ChoicesFollowTheQuestion) {
  ScriptedServer server;
  server.Answer<v1::ScoreRequest, v1::ScoreResponse>([](const auto& request, auto& response) {
    for (const v1::ScoreItem& item : request.items()) {
      EXPECT_EQ(item.prompt().text(), "Question: why?\nAnswer:");
      response.add_results()->set_logprob_sum(-1.0 * item.continuation().text().size());
    }
    EXPECT_EQ(request.skip().level(), "half");
  });
  SweepPlan plan;
  plan.files.choices = {{1, "Question: why?", {"so", "because"}, 1}};
  plan.skips = {{.name = "half"}};
  plan.skips[0].skip.set_level("half");
  const Client client(server.address());
  const CallOptions options;
  const auto result = SweepCalls(client, options, plan).Measure({SweepTask::kChoices, 0, 0});
  ASSERT_TRUE(result.ok()) << result.status();
  // With the blank in front.
  EXPECT_THAT(std::get<ChoicesResult>(*result).loglikelihood, testing::ElementsAre(-3, -8));
}

TEST_F(SweepCallsTest, LastWordsAreMetIfGreedyDecodingGivesThem) {
  const Ids context = {1, 2, 3};
  const Ids word = FakeOutput(context, kHalf, 2);
  files_.last_words = {{1, "1 2 3", FakeText(word)}};
  EXPECT_TRUE(Measure<LastWordResult>({SweepTask::kLastWords, 0, 1}).greedy);
  const auto full = Measure<LastWordResult>({SweepTask::kLastWords, 0, 0});
  EXPECT_FALSE(full.greedy);
  const Ids all = {1, 2, 3, word[0], word[1]};
  EXPECT_NEAR(full.logprob, FakeLogprobSum(all, "none") - FakeLogprobSum({1, 2, 3}, "none"), 1e-5);
}

TEST_F(SweepCallsTest, ContinuationsAreScoredByTheFullModel) {
  files_.prompts = {{1, "1 2 3"}};
  const auto result = Measure<GenerationResult>({SweepTask::kGeneration, 0, 1});
  const Ids output = FakeOutput({1, 2, 3}, kHalf, 6);
  EXPECT_THAT(result.ids, ElementsAreArray(output));
  Ids all = {1, 2, 3};
  all.insert(all.end(), output.begin(), output.end());
  EXPECT_NEAR(result.logprob, FakeLogprobSum(all, "none") - FakeLogprobSum({1, 2, 3}, "none"),
              1e-5);
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
  files_.choices = {{7, "1 2", {"3", "4"}, 0}};  // the fake's texts are numbers, "Answer:" is none
  const auto result = TryMeasure({SweepTask::kChoices, 0, 1});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()),
              AllOf(HasSubstr("--choices line 7, skip attn:2-3: "), HasSubstr("items[0]")));
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
