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
    BenchArm arm(options_, skips, kVocab, kFirstSlot, pool);
    arm.FillPlans();
    arm.PrefillPlans();
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

// Pages of 4 tokens: the sink has 4 blocks, windows of 16 at the end of 61 positions 5.
TEST_F(BenchArmTest, WindowsKeepTheSinkAndTheTail) {
  options_.context = options_.prompt = 60;
  options_.steps = 1;
  options_.chunk = 16;
  const SkipSet top = *ParseSkipSet("win:last=2/16", kLayers);
  const SkipSet below = *ParseSkipSet("win:0-1/16", kLayers);
  // Windows below a full layer hold each chunk beside what its first row sees.
  const int64_t full = 2 * 15, chunk = 2 * (4 + 4 + 4);
  EXPECT_EQ(
      BenchArm::PagesNeeded({.batch = 1, .prompt = 60, .steps = 0, .chunk = 16, .page_tokens = 4},
                            std::vector{below}),
      full + chunk - 2);  // the last chunk is of 12 tokens
  for (const SkipSet& skip : {top, below}) {
    PagePool pool(BenchArm::PagesNeeded(options_, std::vector{skip}));
    BenchArm arm(options_, {skip}, kVocab, kFirstSlot, pool);
    for (const StepPlan& plan : arm.FillPlans()) {
      for (const PageUpdate& update : plan.page_updates) EXPECT_GE(update.page, 0);
    }
    EXPECT_EQ(pool.used(), options_.batch * (2 * 16 + 2 * (4 + 5)));
    EXPECT_EQ(arm.decode_pages(), options_.batch * PagesFor(61, skip, 4));
    for (int repetition = 0; repetition < 3; ++repetition) arm.PrefillPlans();
    EXPECT_LE(pool.used(), pool.size());
  }
}

// Rows that no window reaches stop at the last full layer, in every chunk of the prompt.
TEST_F(BenchArmTest, EveryChunkSaysHowFarTheFirstLogitsRowIs) {
  PagePool pool(BenchArm::PagesNeeded(options_, std::vector{none_}));
  BenchArm arm(options_, {none_}, kVocab, kFirstSlot, pool);
  for (const StepPlan& plan : arm.PrefillPlans()) {
    EXPECT_EQ(plan.chunks[0].FirstLogitsRow(), options_.prompt - 1);
  }
}

// The fake draws what it reads from pages: a sequence whose pages are another set's, stale or
// missing draws something else.
TEST_F(BenchArmTest, EverySequenceDecodesBehindTheContextOfItsSet) {
  options_.context = 45;
  options_.chunk = 12;
  const std::vector<SkipSet> skips{none_, half_, *ParseSkipSet("win:1/16,2-3/24", kLayers)};
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
    return FakeToken(tokens, skips[i % skips.size()], kVocab);
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
