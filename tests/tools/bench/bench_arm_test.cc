#include "tools/bench/bench_arm.h"

#include <vector>

#include "engine/skip/skip_grammar.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_runner.h"

namespace skipstone {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr int kLayers = 4, kVocab = 100, kFirstSlot = 10;
constexpr int kNoneBlock = 4, kHalfBlock = 2;  // pages of a block

class BenchArmTest : public testing::Test {
 protected:
  BenchOptions options_{
      .batch = 5, .context = 6, .prompt = 10, .steps = 3, .chunk = 4, .page_tokens = 4};
  const SkipSet none_{kLayers};
  const SkipSet half_ = *ParseSkipSet("attn:last=2", kLayers);

  // Sampled tokens, by sequence.
  std::vector<int32_t> Run(FakeRunner& runner, const StepPlan& plan) {
    runner.Launch(plan);
    const StepResults results = runner.Collect();
    std::vector<int32_t> sampled;
    for (const LogitsResult& result : results.logits) sampled.push_back(result.sampled.id);
    return sampled;
  }
};

TEST_F(BenchArmTest, TakesExactlyThePagesItAsksFor) {
  const std::vector<SkipSet> one{half_}, two{none_, half_};
  EXPECT_EQ(BenchArm::PagesNeeded(options_, one), kHalfBlock * (3 + 5 * 3));
  EXPECT_EQ(BenchArm::PagesNeeded(options_, two), kNoneBlock * 3 * 3 + kHalfBlock * 2 * 3);
  for (const auto& skips : {one, two}) {
    PagePool pool(BenchArm::PagesNeeded(options_, skips));
    const BenchArm arm(options_, skips, kVocab, kFirstSlot, pool);
    EXPECT_EQ(pool.free(), 0);
    EXPECT_EQ(arm.decode_pages(), pool.size() - (arm.mixed() ? 0 : kHalfBlock * 3));
  }
  options_.steps = 0;
  EXPECT_EQ(BenchArm::PagesNeeded(options_, one), kHalfBlock * 3);
}

TEST_F(BenchArmTest, APromptComesInChunksAndDrawsOneToken) {
  PagePool pool(BenchArm::PagesNeeded(options_, std::vector{none_}));
  BenchArm arm(options_, {none_}, kVocab, kFirstSlot, pool);
  EXPECT_EQ(arm.name(), "none");
  const std::vector<StepPlan> plans = arm.PrefillPlans();
  ASSERT_EQ(plans.size(), 3u);
  std::vector<int> rows, draws;
  for (const StepPlan& plan : plans) {
    ASSERT_EQ(plan.chunks.size(), 1u);
    EXPECT_EQ(plan.chunks[0].slot, kFirstSlot);
    rows.push_back(plan.num_rows);
    draws.push_back(plan.chunks[0].logits_rows);
  }
  EXPECT_THAT(rows, ElementsAre(4, 4, 2));
  EXPECT_THAT(draws, ElementsAre(0, 0, 1));
}

TEST_F(BenchArmTest, SeveralSetsTakeTurnsAndHaveNoPrefill) {
  PagePool pool(BenchArm::PagesNeeded(options_, std::vector{none_, half_}));
  BenchArm arm(options_, {none_, half_}, kVocab, kFirstSlot, pool);
  EXPECT_EQ(arm.name(), "mixed");
  EXPECT_THAT(arm.PrefillPlans(), IsEmpty());
  const std::vector<StepPlan> plans = arm.DecodePlans(1, 2);
  ASSERT_EQ(plans.size(), 2u);
  EXPECT_THAT(plans[0].tokens, Each(kSampledToken));
  for (int i = 0; i < options_.batch; ++i) {
    EXPECT_EQ(plans[0].SkipOf(plans[0].chunks[i]), i % 2 == 0 ? none_ : half_) << i;
    EXPECT_EQ(plans[0].chunks[i].slot, kFirstSlot + 1 + i);
    EXPECT_EQ(plans[1].chunks[i].first_position, options_.context + 2);
  }
}

// The fake draws what it reads from pages: a sequence whose pages are another set's, stale or
// missing draws something else.
TEST_F(BenchArmTest, EverySequenceDecodesBehindTheContextOfItsSet) {
  const std::vector<SkipSet> skips{none_, half_};
  PagePool pool(BenchArm::PagesNeeded(options_, skips));
  BenchArm arm(options_, skips, kVocab, kFirstSlot, pool);
  FakeRunner runner({.vocab = kVocab,
                     .page_tokens = options_.page_tokens,
                     .num_pages = pool.size(),
                     .num_layers = kLayers});
  std::vector<std::vector<int32_t>> contexts(options_.batch);
  std::vector<int32_t> filled;
  for (const StepPlan& plan : arm.FillPlans()) {
    auto& context = contexts.at(plan.chunks[0].slot - kFirstSlot - 1);
    context.insert(context.end(), plan.tokens.begin(), plan.tokens.end());
    for (const int32_t token : Run(runner, plan)) filled.push_back(token);
  }
  const auto expected = [&](int i, std::vector<int32_t> behind) {
    std::vector<int32_t> tokens = contexts[i];
    tokens.insert(tokens.end(), behind.begin(), behind.end());
    return FakeToken(tokens, skips[i % 2], kVocab);
  };
  ASSERT_EQ(filled.size(), contexts.size());
  const std::vector<StepPlan> steps = arm.DecodePlans(0, 2);
  const std::vector<int32_t> first = Run(runner, steps[0]);
  const std::vector<int32_t> second = Run(runner, steps[1]);
  for (int i = 0; i < options_.batch; ++i) {
    EXPECT_EQ(filled[i], expected(i, {})) << i;
    EXPECT_EQ(first[i], expected(i, {filled[i]})) << i;
    EXPECT_EQ(second[i], expected(i, {filled[i], first[i]})) << i;
  }
}

}  // namespace
}  // namespace skipstone
