#include "client/cli/sweep_results.h"

#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

using Json = nlohmann::json;

// Through text, as in the journal.
std::string Again(const SweepKey& key, const SweepResult& result) {
  const auto read = SweepResultFromJson(Json::parse(ToJson(key, result).dump()));
  EXPECT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->first, key);
  return ToJson(read->first, read->second).dump();
}

TEST(SweepResultsTest, AreReadBackAsTheyWere) {
  const SpeedResult speed{0.1, 1e-300, 256, 32, uint64_t{1} << 60};
  EXPECT_EQ(Again({SweepTask::kSpeed, 1, 2}, speed),
            ToJson({SweepTask::kSpeed, 1, 2}, speed).dump());
  TextResult text{.likeliest = {1, 2, 4'000'000'000}};
  text.sums.tokens = 3;
  text.sums.nll = 0.1 + 0.2;
  text.sums.bins[4] = {2, 1, 1.0 / 3};
  const auto read = SweepResultFromJson(Json::parse(ToJson({SweepTask::kText, 0, 0}, text).dump()));
  ASSERT_TRUE(read.ok()) << read.status();
  const auto& same = std::get<TextResult>(read->second);
  EXPECT_EQ(same.sums.nll, text.sums.nll);
  EXPECT_EQ(same.sums.bins[4].confidence, 1.0 / 3);
  EXPECT_EQ(same.likeliest, text.likeliest);
  for (const auto& [key, result] :
       {std::pair<SweepKey, SweepResult>{{SweepTask::kChoices, 3, 0}, ChoicesResult{{-1.25, -0.1}}},
        {{SweepTask::kLastWords, 3, 0}, LastWordResult{-3, true}},
        {{SweepTask::kGeneration, 3, 0}, GenerationResult{{{7, 8}, -2.5, 1}, {{9}, -3.5, 0}}}}) {
    EXPECT_EQ(Again(key, result), ToJson(key, result).dump());
  }
}

TEST(SweepResultsTest, WhatIsNoneIsAnError) {
  for (const char* text :
       {"null", "[]", "{}", R"({"task": "none", "item": 0, "skip": 0, "result": {}})",
        R"({"task": "text", "item": 0, "skip": 0, "result": {}})",
        R"({"task": "last_words", "item": 0, "skip": 0, "result": {"logprob": null, "greedy": 1}})",
        R"({"task": "choices", "item": "0", "skip": 0, "result": {"loglikelihood": []}})"}) {
    EXPECT_EQ(SweepResultFromJson(Json::parse(text)).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(SweepResultsTest, AreFoundByTaskAndSkip) {
  SweepResults results;
  for (int item = 0; item < 3; ++item) {
    for (int skip = 0; skip < 2; ++skip) {
      results[{SweepTask::kLastWords, item, skip}] = LastWordResult{10.0 * item + skip, false};
    }
  }
  const auto found = ResultsOf<LastWordResult>(results, SweepTask::kLastWords, 1, 3);
  ASSERT_EQ(found.size(), 3);
  EXPECT_EQ(found[2]->logprob, 21);
  EXPECT_TRUE(ResultsOf<LastWordResult>(results, SweepTask::kLastWords, 1, 0).empty());
}

}  // namespace
}  // namespace skipstone::client
