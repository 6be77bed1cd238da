#include "engine/cpu/sampler.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

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
