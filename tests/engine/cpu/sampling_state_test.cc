#include "engine/cpu/sampling_state.h"

#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> Adjusted(const SamplingState& state, std::vector<float> logits) {
  state.Adjust(logits.data());
  return logits;
}

TEST(SamplingStateTest, TheDefaultsChangeNothing) {
  const std::vector<int32_t> prompt{0, 1};
  const std::vector<int32_t> output{1, 2};
  const SamplingState state({.output_index = 4, .prompt = prompt, .output = output});
  EXPECT_FALSE(state.Adjusts());
  EXPECT_EQ(Adjusted(state, {1, -2, 3}), (std::vector<float>{1, -2, 3}));
  EXPECT_EQ(state.output_index(), 4);
  EXPECT_EQ(state.last_token(), 2);
  EXPECT_EQ(state.output_tokens(), 2);
  EXPECT_EQ(SamplingState(SlotStart{}).last_token(), -1);
}

// Repetition sees the prompt and asks only whether; presence and frequency see the output.
TEST(SamplingStateTest, PenaltiesSeeWhatTheyShould) {
  const std::vector<int32_t> prompt{0, 0, 1, 2};
  const std::vector<int32_t> output{1, 1, 3, 1};
  const auto adjusted = [&](SamplingParams params) {
    const SamplingState state({.sampling = &params, .prompt = prompt, .output = output});
    EXPECT_TRUE(state.Adjusts());
    return Adjusted(state, {4, -4, 0, 8, 16});
  };
  EXPECT_EQ(adjusted({.repetition_penalty = 2}), (std::vector<float>{2, -8, 0, 4, 16}));
  EXPECT_EQ(adjusted({.repetition_penalty = 0.5}), (std::vector<float>{8, -2, 0, 16, 16}));
  EXPECT_EQ(adjusted({.presence_penalty = 1}), (std::vector<float>{4, -5, 0, 7, 16}));
  EXPECT_EQ(adjusted({.frequency_penalty = -1}), (std::vector<float>{4, -1, 0, 9, 16}));
  EXPECT_EQ(adjusted({.repetition_penalty = 2, .presence_penalty = 1, .frequency_penalty = 0.25}),
            (std::vector<float>{2, -9.75, 0, 2.75, 16}));
}

TEST(SamplingStateTest, TheBiasComesBeforeSuppressionAndPenalties) {
  const SamplingParams params{.repetition_penalty = 2,
                              .logit_bias = {{0, -8.0f}, {1, 100.0f}, {2, 1.0f}},
                              .min_tokens = 1,
                              .suppressed_ids = {1}};
  const std::vector<int32_t> prompt{0, 1};
  const SamplingState state({.sampling = &params, .prompt = prompt});
  EXPECT_EQ(Adjusted(state, {4, 4, 4}), (std::vector<float>{-8, -kInfinity, 5}));
}

TEST(SamplingStateTest, SuppressesUntilTheOutputHoldsMinTokens) {
  const SamplingParams params{.min_tokens = 3, .suppressed_ids = {0, 2}};
  const std::vector<int32_t> output{1};
  SamplingState state({.sampling = &params, .output = output});
  for (int tokens = 1; tokens < 3; ++tokens) {
    EXPECT_TRUE(state.Adjusts());
    EXPECT_EQ(Adjusted(state, {5, 6, 7}), (std::vector<float>{-kInfinity, 6, -kInfinity}));
    state.Append(1);
  }
  EXPECT_FALSE(state.Adjusts());
  EXPECT_EQ(Adjusted(state, {5, 6, 7}), (std::vector<float>{5, 6, 7}));
  const SamplingParams none{.min_tokens = 3};
  EXPECT_FALSE(SamplingState({.sampling = &none}).Adjusts());
}

// A preempted sequence that takes its slot again is what it was.
TEST(SamplingStateTest, SampledTokensCountLikeGivenOnes) {
  const SamplingParams params{.repetition_penalty = 1.5f,
                              .presence_penalty = 0.5f,
                              .frequency_penalty = 0.25f,
                              .min_tokens = 4,
                              .suppressed_ids = {3}};
  const std::vector<int32_t> prompt{2, 4};
  const std::vector<int32_t> output{1, 2, 1, 0, 1};
  SamplingState moved({.sampling = &params, .prompt = prompt});
  const std::vector<float> logits{3, 2, -1, 5, 0.5};
  for (size_t i = 0; i <= output.size(); ++i) {
    const SamplingState given(
        {.sampling = &params, .prompt = prompt, .output = std::span(output).first(i)});
    EXPECT_EQ(Adjusted(moved, logits), Adjusted(given, logits)) << i;
    EXPECT_EQ(moved.last_token(), given.last_token());
    EXPECT_EQ(moved.output_tokens(), given.output_tokens());
    if (i < output.size()) moved.Append(output[i]);
  }
}

}  // namespace
}  // namespace skipstone
