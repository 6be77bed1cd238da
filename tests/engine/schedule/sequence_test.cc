#include "engine/schedule/sequence.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"
#include "tests/support/mapped_set.h"

namespace skipstone {
namespace {

constexpr int kLayers = 4;

class SequenceTest : public testing::Test {
 protected:
  Sequence Make(int prompt, const char* skip = "none", const char* ceiling = nullptr) {
    SequenceSpec spec{.id = 1, .skip = MappedSet(skip, kLayers), .max_tokens = 10};
    spec.prompt.assign(prompt, 3);
    if (ceiling != nullptr) spec.ceiling = MappedSet(ceiling, kLayers);
    return Sequence(std::move(spec), pool_, 4);
  }
  // Plans `rows` rows; the plan is the step's.
  StepPlan Plan(Sequence* sequence, int rows) {
    StepPlan plan{.id = ++plans_};
    sequence->PlanRows(rows, &plan);
    return plan;
  }

  PagePool pool_{100};
  uint64_t plans_ = 0;
};

TEST_F(SequenceTest, RowsThatStopEarlyCostTheirShareOfABudget) {
  Sequence sequence = Make(20);
  sequence.row_work = {1, 0.5};
  EXPECT_EQ(sequence.RowsWithin(4), 8);
  EXPECT_EQ(sequence.RowsWithin(9.9), 19);
  EXPECT_EQ(sequence.RowsWithin(10.5), 20) << "19 that stop, and the last one, which costs 1";
  EXPECT_EQ(sequence.RowsWithin(1000), 20);
  EXPECT_DOUBLE_EQ(sequence.WorkOf(8), 4);
  EXPECT_DOUBLE_EQ(sequence.WorkOf(20), 10.5);
}

TEST_F(SequenceTest, RowsWithWantedLogprobsCostOneEach) {
  SequenceSpec spec{.id = 1, .skip = SkipSet(kLayers), .max_tokens = 1};
  spec.prompt.assign(20, 3);
  spec.score_from = 11;  // row 10 is the first that needs logits
  Sequence sequence(std::move(spec), pool_, 4);
  sequence.row_work = {1, 0.5};
  EXPECT_DOUBLE_EQ(sequence.WorkOf(10), 5);
  EXPECT_DOUBLE_EQ(sequence.WorkOf(19), 14);
  EXPECT_EQ(sequence.RowsWithin(7), 12);
}

TEST_F(SequenceTest, RowsWithoutAnyWorkAreFree) {
  Sequence sequence = Make(20, "attn:0-3");
  sequence.row_work = {1, 0};
  EXPECT_EQ(sequence.RowsWithin(0.5), 19);
  EXPECT_EQ(sequence.RowsWithin(-1e-12), 19) << "what rounding left of a budget";
  EXPECT_EQ(sequence.RowsWithin(1), 20);
}

// After a preemption all but the last row may come from the prefix cache, or cost nothing: whoever
// counts it as a decode row has not paid for it, and decode rows exceed the budget in the end.
TEST_F(SequenceTest, IsReadyToDecodeOnceItDrewATokenSinceItsStart) {
  Sequence sequence = Make(8);
  sequence.output = {9};
  sequence.planned = 8;
  EXPECT_FALSE(sequence.DecodeReady());
  Plan(&sequence, 1);
  EXPECT_TRUE(sequence.DecodeReady());
}

TEST_F(SequenceTest, ShedsOnlyFromTheTopAndWithinTheCeiling) {
  const auto sets = [this](const char* skip, const char* ceiling) {
    Sequence sequence = Make(5, skip, ceiling);
    std::vector<std::string> passed;
    while (sequence.CanShed()) {
      sequence.Shed();
      passed.push_back(sequence.skip.ToString());
    }
    return passed;
  };
  using Sets = std::vector<std::string>;
  EXPECT_FALSE(Make(5).CanShed()) << "no ceiling";
  EXPECT_EQ(sets("none", "attn:last=50%"), (Sets{"attn:3", "attn:2-3"}));
  EXPECT_EQ(sets("attn:last=25%", "attn:last=50%"), Sets{"attn:2-3"});
  EXPECT_EQ(sets("attn:1", "attn:1-3"), (Sets{"attn:1,3", "attn:1-3"}));
  EXPECT_EQ(sets("none", "attn:0-2"), Sets{}) << "the last one is kept";
  EXPECT_EQ(sets("none", "attn:0,2-3"), (Sets{"attn:3", "attn:2-3"}));
  EXPECT_EQ(sets("none", "attn:0-3").size(), 4u);
}

// Below the deepest kept attention K and V depend on them: there they stay.
TEST_F(SequenceTest, SheddingTakesTheCeilingsMapsAboveTheDeepestKeptAttention) {
  const auto sets = [this](const char* skip, const char* ceiling) {
    Sequence sequence = Make(5, skip, ceiling);
    std::vector<SkipSet> passed;
    while (sequence.CanShed()) {
      sequence.Shed();
      passed.push_back(sequence.skip);
    }
    return passed;
  };
  const auto is = [](const char* text) { return MappedSet(text, kLayers); };
  using Sets = std::vector<SkipSet>;
  EXPECT_EQ(sets("attn:3@1", "attn:2-3@2"), Sets{is("attn:2-3@2")}) << "fitted anew";
  EXPECT_EQ(sets("none", "attn:2-3@2"), (Sets{is("attn:3@2"), is("attn:2-3@2")}));
  EXPECT_EQ(sets("attn:3@1", "attn:2-3"), Sets{is("attn:2-3")}) << "to the identity";
  EXPECT_EQ(sets("attn:2-3@1", "attn:2-3@2"), Sets{}) << "nothing to shed";
  SkipSet below = is("attn:0,2-3");
  below.MapAttention(0, AttentionMapOf(1, 0));
  for (const int layer : {2, 3}) below.MapAttention(layer, AttentionMapOf(2, layer));
  EXPECT_EQ(sets("attn:0,3@1", "attn:0,2-3@2"), Sets{below}) << "K and V of layer 1 are above 0";
  const Sets all = sets("attn:0+mlp:1@1", "attn:0-3+mlp:1@2");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].MlpMap(1), MlpMapOf(1, 1)) << "below layer 2";
  EXPECT_EQ(all[1].MlpMap(1), MlpMapOf(2, 1)) << "above K and V of layer 1";
  EXPECT_EQ(all[1].AttentionMap(0), AttentionMapOf(1, 0));
  EXPECT_EQ(all[2], is("attn:0-3+mlp:1@2"));
}

TEST_F(SequenceTest, AWindowShedsToTheCeilingsMapsAboveIt) {
  SequenceSpec spec{.id = 1, .skip = MappedSet("attn:2-3@1", kLayers), .max_tokens = 10};
  spec.prompt.assign(5, 3);
  spec.ceiling = MappedSet("attn:2-3+win:1/16@2", kLayers);
  Sequence sequence(std::move(spec), pool_, 4);
  ASSERT_TRUE(sequence.CanShed());
  sequence.Shed();
  EXPECT_EQ(sequence.skip, MappedSet("attn:2-3+win:1/16@2", kLayers));
  EXPECT_FALSE(sequence.CanShed());
}

TEST_F(SequenceTest, ShedsNothingBeforeTheLogprobsOfItsPrompt) {
  SequenceSpec spec{.id = 1, .skip = SkipSet(kLayers), .max_tokens = 4, .prompt_logprobs = 0};
  spec.prompt.assign(8, 3);
  spec.ceiling = *ParseSkipSet("attn:2-3", kLayers);
  Sequence sequence(std::move(spec), pool_, 4);
  EXPECT_FALSE(sequence.CanShed());
  Plan(&sequence, 6);
  EXPECT_FALSE(sequence.CanShed());
  Plan(&sequence, 2);
  EXPECT_TRUE(sequence.CanShed());
}

TEST_F(SequenceTest, AShedSetIsInForceFromTheNextPlannedToken) {
  Sequence sequence = Make(5, "none", "attn:last=50%");
  sequence.slot = 0;
  ASSERT_TRUE(sequence.pages.Grow(5));
  Plan(&sequence, 5);  // draws token 0
  ASSERT_TRUE(sequence.pages.Grow(6));
  Plan(&sequence, 1);  // draws token 1, both uncommitted
  sequence.Shed();
  EXPECT_EQ(sequence.skip.ToString(), "attn:3");
  EXPECT_EQ(sequence.pages.num_pages(), 6);
  EXPECT_EQ(pool_.used(), 6);
  EXPECT_TRUE(sequence.TakeApplied().empty()) << "token 0 was drawn under the old set";
  sequence.AddToken(7);
  EXPECT_TRUE(sequence.TakeApplied().empty());
  sequence.AddToken(7);
  const std::vector<AppliedRange> applied = sequence.TakeApplied();
  ASSERT_EQ(applied.size(), 1u);
  EXPECT_EQ(applied[0].from_token, 2);
  EXPECT_EQ(applied[0].skip.ToString(), "attn:3");
  EXPECT_TRUE(sequence.TakeApplied().empty());
}

TEST_F(SequenceTest, AChunkNamesTheSetInForce) {
  Sequence sequence = Make(8, "none", "attn:last=50%");
  sequence.slot = 0;
  ASSERT_TRUE(sequence.pages.Grow(8));
  Plan(&sequence, 4);
  sequence.Shed();
  sequence.Shed();
  const StepPlan plan = Plan(&sequence, 4);
  EXPECT_EQ(plan.SkipOf(plan.chunks[0]).ToString(), "attn:2-3");
  EXPECT_EQ(sequence.TakeApplied().at(0).from_token, 0);
}

TEST_F(SequenceTest, EndsAtAStopTokenOrAtItsLength) {
  SequenceSpec spec{.id = 1, .prompt = {1}, .skip = SkipSet(kLayers), .max_tokens = 2};
  spec.stop_ids = {9};
  for (const int32_t first : {9, 5}) {
    Sequence sequence(spec, pool_, 4);
    Plan(&sequence, 1);
    EXPECT_EQ(sequence.AddToken(first), first == 9 ? SequenceEnd::kStopToken : SequenceEnd::kNone);
    if (first == 9) continue;
    Plan(&sequence, 1);
    EXPECT_EQ(sequence.AddToken(5), SequenceEnd::kLength);
  }
}

TEST_F(SequenceTest, GoesOnlyWhereItsStateLeads) {
  using enum SequenceState;
  const SequenceState all[] = {kNew, kFollowing, kWaiting, kRunning, kPreempted, kEnded};
  const std::map<SequenceState, std::set<SequenceState>> legal = {
      {kNew, {kFollowing, kWaiting}},   {kFollowing, {kWaiting, kEnded}},
      {kWaiting, {kRunning, kEnded}},   {kRunning, {kPreempted, kEnded}},
      {kPreempted, {kRunning, kEnded}}, {kEnded, {}}};
  const std::map<SequenceState, std::vector<SequenceState>> ways = {
      {kNew, {}},
      {kFollowing, {kFollowing}},
      {kWaiting, {kFollowing, kWaiting}},
      {kRunning, {kWaiting, kRunning}},
      {kPreempted, {kWaiting, kRunning, kPreempted}},
      {kEnded, {kWaiting, kRunning, kEnded}}};
  const SequenceSpec spec{.id = 1, .prompt = {1}, .skip = SkipSet(kLayers), .max_tokens = 2};
  for (const SequenceState from : all) {
    for (const SequenceState to : all) {
      Sequence sequence(spec, pool_, 4);
      for (const SequenceState step : ways.at(from)) sequence.MoveTo(step);
      EXPECT_EQ(sequence.never_ran(), from == kNew || from == kFollowing || from == kWaiting);
      if (legal.at(from).contains(to)) {
        sequence.MoveTo(to);
        EXPECT_EQ(sequence.state(), to);
        EXPECT_EQ(sequence.running(), to == kRunning);
      } else {
        EXPECT_DEATH(sequence.MoveTo(to), "check failed");
      }
    }
  }
}

}  // namespace
}  // namespace skipstone
