#include "engine/schedule/step_plan.h"

#include "gtest/gtest.h"

namespace skipstone {
namespace {

TEST(StepPlanTest, ClearKeepsTheMemoryAndNothingElse) {
  StepPlan plan{.id = 7, .num_rows = 3, .decode_rows = 1, .prefill_work = 2, .preemptions = 1};
  plan.chunks.resize(100);
  plan.tokens.resize(1000);
  plan.page_updates.resize(50);
  plan.shed_pages = 9;
  const SequenceChunk* chunks = plan.chunks.data();
  plan.Clear();
  EXPECT_TRUE(plan.empty());
  EXPECT_EQ(plan.id, 0u);
  EXPECT_EQ(plan.num_rows + plan.decode_rows + plan.preemptions, 0);
  EXPECT_EQ(plan.prefill_work, 0);
  EXPECT_EQ(plan.shed_pages, 0);
  EXPECT_TRUE(plan.tokens.empty() && plan.page_updates.empty());
  EXPECT_GE(plan.tokens.capacity(), 1000u);
  plan.chunks.resize(100);
  EXPECT_EQ(plan.chunks.data(), chunks);
}

TEST(StepPlanTest, EqualSetsAreOne) {
  StepPlan plan;
  SkipSet half(4);
  half.SkipAttention(3);
  EXPECT_EQ(plan.SetOf(half), 0);
  EXPECT_EQ(plan.SetOf(SkipSet(4)), 1);
  EXPECT_EQ(plan.SetOf(SkipSet(half)), 0);
  EXPECT_EQ(plan.sets.size(), 2u);
  EXPECT_EQ(plan.SkipOf({.set = 0}), half);
  plan.Clear();
  EXPECT_EQ(plan.SetOf(SkipSet(4)), 0);
}

}  // namespace
}  // namespace skipstone
