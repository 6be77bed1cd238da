#include "engine/quality/window_pass.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "engine/llama_runner.h"
#include "engine/quality/map_apply.h"
#include "engine/schedule/step_plan.h"
#include "tests/engine/quality/quality_model.h"

namespace skipstone::quality {
namespace {

constexpr int kTokens = 40;

std::vector<float> Nlls(const std::vector<TokenOutcome>& outcomes) {
  std::vector<float> nlls;
  for (const TokenOutcome& outcome : outcomes) nlls.push_back(outcome.nll);
  return nlls;
}
std::vector<float> Kls(const std::vector<TokenOutcome>& outcomes) {
  std::vector<float> kls;
  for (const TokenOutcome& outcome : outcomes) kls.push_back(outcome.kl);
  return kls;
}

class WindowPassTest : public testing::Test {
 protected:
  WindowPassTest() : window_(SomeWindows(1, kTokens, model_.loaded.config.shape.vocab)[0]) {}

  SkipSet Latter(int count) const {
    SkipSet skip(model_.layers());
    for (int i = 1; i <= count; ++i) skip.SkipAttention(model_.layers() - i);
    return skip;
  }

  QualityModel model_;
  const std::vector<int32_t> window_;
};

// The log-probabilities that the engine's own runner scores.
std::vector<float> ScoredBy(const SkipSet& skip, const std::vector<int32_t>& window) {
  QualityModel model;
  const int layers = model.layers();
  auto runner = MakeLlamaRunner(std::move(model.loaded), {.limits = {.max_rows = kTokens,
                                                                     .max_logits_rows = kTokens,
                                                                     .max_slots = 1,
                                                                     .num_pages = 3 * layers}})
                    .value();
  StepPlan plan;
  plan.sets.push_back(skip);
  plan.tokens = window;
  plan.num_rows = kTokens - 1;
  plan.chunks.push_back({.num_rows = kTokens - 1,
                         .logits_rows = kTokens - 1,
                         .prompt_top_n = 0,
                         .last_row_has_target = true});
  for (int layer = 0; layer < layers; ++layer) {
    for (int block = 0; block < 3; ++block) {
      plan.page_updates.push_back({0, layer, block, layer * 3 + block});
    }
  }
  runner->Launch(plan);
  std::vector<float> nlls;
  for (const LogitsResult& result : runner->Collect().logits) {
    nlls.push_back(-result.target.logprob);
  }
  return nlls;
}

TEST_F(WindowPassTest, ScoresAsTheEngineDoes) {
  auto pass = model_.Pass({.window = kTokens, .variants = 3});
  SkipSet windowed(model_.layers());
  windowed.WindowAttention(model_.layers() - 1, 16);
  const std::vector<Variant> variants = {
      {.skip = SkipSet(model_.layers())}, {.skip = Latter(2)}, {.skip = windowed}};
  ASSERT_TRUE(pass->Run(window_, variants).ok());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Nlls(pass->outcomes(i)), ScoredBy(variants[i].skip, window_)) << i;
  }
}

TEST_F(WindowPassTest, WhatStartsFromAStateEndsAsWhatCameFromTheTokens) {
  auto pass = model_.Pass({.window = kTokens, .variants = 4});
  Variant whole{.skip = Latter(2), .reference = 0};
  whole.observed.set();
  std::map<Point, std::vector<float>> states;
  ASSERT_TRUE(pass->Run(window_, {&whole, 1},
                        [&](int, Point point, std::span<const float> state) {
                          states[point].assign(state.begin(), state.end());
                        })
                  .ok());
  EXPECT_EQ(std::ssize(states), 2 * model_.layers() + 1);
  const auto expected = Nlls(pass->outcomes(0));
  EXPECT_THAT(Kls(pass->outcomes(0)), testing::Each(0));
  for (Point point = 0; point <= 2 * model_.layers(); ++point) {
    const std::vector<Variant> variants = {
        {.skip = SkipSet(model_.layers())},
        {.skip = Latter(2), .begin = point, .input = states[point].data(), .reference = 0}};
    ASSERT_TRUE(pass->Run(window_, variants).ok());
    EXPECT_EQ(Nlls(pass->outcomes(1)), expected) << point;
    EXPECT_GT(pass->outcomes(1)[5].kl, 0) << point;
  }
}

TEST_F(WindowPassTest, AVariantThatStopsHasNoOutcomes) {
  auto pass = model_.Pass({.window = kTokens, .variants = 2});
  int seen = 0;
  std::vector<Variant> variants = {{.skip = Latter(1), .end = 3}, {.skip = Latter(1)}};
  variants[0].observed.set();
  ASSERT_TRUE(pass->Run(window_, variants,
                        [&](int variant, Point point, auto state) {
                          EXPECT_EQ(variant, 0);
                          EXPECT_LE(point, 3);
                          EXPECT_EQ(state.size(),
                                    (kTokens - 1) * model_.loaded.config.shape.hidden);
                          ++seen;
                        })
                  .ok());
  EXPECT_EQ(seen, 4);
  EXPECT_TRUE(pass->outcomes(0).empty());
  EXPECT_EQ(std::ssize(pass->outcomes(1)), kTokens - 1);
}

TEST_F(WindowPassTest, AMapUnderTrialActsBehindItsSublayer) {
  const int hidden = model_.loaded.config.shape.hidden;
  auto pass = model_.Pass({.window = kTokens, .variants = 2});
  FittedMap map;
  map.bias.assign(hidden, 0.01f);
  map.scale.assign(hidden, 0.1f);
  const Point point = AttentionPoint(model_.layers() - 1);
  const FittedMaps maps = {{point, std::make_shared<const FittedMap>(map)}};
  std::vector<Variant> variants = {{.skip = Latter(1), .fitted = &maps}, {.skip = Latter(1)}};
  for (Variant& variant : variants) variant.observed.set(point).set(point + 1);
  std::map<std::pair<int, Point>, std::vector<float>> states;
  ASSERT_TRUE(pass->Run(window_, variants,
                        [&](int variant, Point at, auto state) {
                          states[{variant, at}].assign(state.begin(), state.end());
                        })
                  .ok());
  EXPECT_EQ((states[{0, point}]), (states[{1, point}]));
  EXPECT_EQ((states[{1, point + 1}]), (states[{1, point}]));
  std::vector<float> expected = states[{0, point}];
  AddMap(map, pass->Normed(point, expected), expected);
  EXPECT_EQ((states[{0, point + 1}]), expected);
}

}  // namespace
}  // namespace skipstone::quality
