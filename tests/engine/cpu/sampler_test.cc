#include "engine/cpu/sampler.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/cpu/sampler_vectors.h"

namespace skipstone {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// A whole number of vectors and a tail.
constexpr int kVocab = 67;

std::vector<float> RandomLogits() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 2.0f);
  std::vector<float> logits(kVocab);
  for (float& x : logits) x = normal(random);
  return logits;
}

std::vector<SamplingParams> EveryKindOfSampling() {
  std::vector<SamplingParams> all{{.temperature = 0},   {.seed = 1},
                                  {.top_k = 3},         {.top_p = 0.5f},
                                  {.min_p = 0.1f},      {.top_k = 9, .top_p = 0.7f},
                                  {.temperature = 0.2f}};
  const auto plain = all;
  for (SamplingParams params : plain) {
    params.repetition_penalty = 1.3f;
    params.presence_penalty = 0.4f;
    params.frequency_penalty = -0.2f;
    params.logit_bias = {{0, -100.0f}, {kVocab - 1, 100.0f}};
    params.min_tokens = 10;
    params.suppressed_ids = {0, 33, kVocab - 1};
    all.push_back(params);
  }
  return all;
}

LogitsResult Reduce(const std::vector<float>& logits, const SamplingParams& params,
                    const LogitsRow& row) {
  const std::vector<int32_t> prompt{1, 2, 33};
  const std::vector<int32_t> output{2};
  const SamplingState state({.sampling = &params, .prompt = prompt, .output = output});
  std::vector<float> scratch(2 * logits.size());
  return ReduceLogits(logits, row, state, scratch);
}

TEST(SamplerTest, DrawsWhatFloat64Draws) {
  for (const SamplerVector& vector : ReadSamplerVectors()) {
    SCOPED_TRACE(vector.text);
    const SamplingState state(vector.StartOf(0));
    std::vector<float> scratch(2 * vector.logits.size());
    for (const auto& [position, token] : vector.draws) {
      const int top_n = static_cast<int>(vector.top.size());
      const LogitsRow row{.position = position, .sample = true, .target = 17, .top_n = top_n};
      const LogitsResult result = ReduceLogits(vector.logits, row, state, scratch);
      EXPECT_EQ(result.sampled.id, token) << "position " << position;
      EXPECT_NEAR(result.sampled.logprob, vector.logits[token] - vector.log_sum, 2e-6);
      EXPECT_EQ(result.target.id, 17);
      EXPECT_NEAR(result.target.logprob, vector.logits[17] - vector.log_sum, 2e-6);
      ASSERT_EQ(result.top.size(), vector.top.size());
      for (int i = 0; i < top_n; ++i) {
        EXPECT_EQ(result.top[i].id, vector.top[i]);
        EXPECT_NEAR(result.top[i].logprob, vector.logits[vector.top[i]] - vector.log_sum, 2e-6);
      }
    }
  }
}

// Log-probabilities that nobody asked for are not made; ids that none is wanted of are none.
TEST(SamplerTest, ARowGetsWhatItWants) {
  const std::vector<float> logits = RandomLogits();
  const LogitsResult sampled = Reduce(logits, {}, {.sample = true});
  EXPECT_GE(sampled.sampled.id, 0);
  EXPECT_EQ(sampled.target.id, -1);
  EXPECT_TRUE(sampled.top.empty());
  const LogitsResult scored = Reduce(logits, {}, {.target = 5, .top_n = 0});
  EXPECT_EQ(scored.sampled.id, -1);
  EXPECT_EQ(scored.target.id, 5);
  EXPECT_TRUE(scored.top.empty());
}

TEST(SamplerTest, TheTopMayBeTheWholeVocabulary) {
  const std::vector<float> logits{1, 3, 2, 3, -1};
  std::vector<int32_t> ids;
  for (const TokenLogprob& token : TopLogits(logits, 9)) ids.push_back(token.id);
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 3, 2, 0, 4}));
  EXPECT_TRUE(TopLogits(logits, 0).empty());
}

// Whatever is wanted of a row, and wherever in it: also where a bias or a suppression hides it.
TEST(SamplerTest, FindsLogitsThatAreNotFinite) {
  const LogitsRow rows[] = {{.sample = true},
                            {.sample = true, .top_n = 2},
                            {.target = 5, .top_n = 0},
                            {.target = 5, .top_n = 3}};
  for (const SamplingParams& params : EveryKindOfSampling()) {
    for (const LogitsRow& row : rows) {
      EXPECT_TRUE(Reduce(RandomLogits(), params, row).finite);
      for (const float bad : {std::nanf(""), -std::nanf(""), kInfinity, -kInfinity}) {
        for (int id = 0; id < kVocab; ++id) {
          std::vector<float> logits = RandomLogits();
          logits[id] = bad;
          const LogitsResult result = Reduce(logits, params, row);
          EXPECT_FALSE(result.finite) << bad << " at " << id;
          if (row.sample) {
            EXPECT_EQ(result.sampled.id, 0);
          }
        }
        EXPECT_FALSE(Reduce(std::vector<float>(kVocab, bad), params, row).finite);
      }
    }
  }
}

TEST(SamplerTest, IdsThatMayNotBeDrawnAreNoFault) {
  SamplingParams params{.min_tokens = 10};
  for (int id = 0; id < kVocab; ++id) {
    if (id != 42) params.suppressed_ids.push_back(id);
  }
  for (const float temperature : {0.0f, 1.0f}) {
    params.temperature = temperature;
    const LogitsResult result = Reduce(RandomLogits(), params, {.sample = true, .top_n = 1});
    EXPECT_TRUE(result.finite);
    EXPECT_EQ(result.sampled.id, 42);
  }
}

TEST(SamplerTest, TakesTheLargestNumbersThatAreFinite) {
  std::vector<float> logits = RandomLogits();
  logits[7] = std::numeric_limits<float>::max();
  logits[8] = std::numeric_limits<float>::lowest();
  const LogitsResult result =
      Reduce(logits, {.temperature = 0}, {.sample = true, .target = 7, .top_n = 1});
  EXPECT_TRUE(result.finite);
  EXPECT_EQ(result.sampled.id, 7);
  EXPECT_EQ(result.target.logprob, 0.0f);
}

TEST(SamplerTest, GreedyTakesTheFirstOfEqualLogits) {
  std::vector<float> logits(kVocab, -1.0f);
  logits[20] = logits[66] = 3.0f;
  EXPECT_EQ(Reduce(logits, {.temperature = 0}, {.sample = true}).sampled.id, 20);
  logits.assign(kVocab, 0.0f);
  logits[0] = -0.0f;
  EXPECT_EQ(Reduce(logits, {.temperature = 0}, {.sample = true}).sampled.id, 0);
}

}  // namespace
}  // namespace skipstone
