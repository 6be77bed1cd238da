#include "engine/schedule/planner.h"

#include <chrono>
#include <vector>

#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

constexpr int kLayers = 4;

Time AtMs(int64_t ms) { return Time(std::chrono::milliseconds(ms)); }

SequenceSpec Spec(SequenceId id, int prompt, int max_tokens) {
  return {.id = id,
          .prompt = std::vector<int32_t>(prompt, static_cast<int32_t>(id)),
          .skip = SkipSet(kLayers),
          .max_tokens = max_tokens};
}

class PlannerTest : public testing::Test {
 protected:
  static SchedulerOptions Options() {
    return {.max_batch_tokens = 8, .max_sequences = 4, .page_tokens = 4, .num_pages = 100};
  }
  static void Add(Planner& planner, SequenceSpec spec) { planner.Add({&spec, 1}); }
  // Every row that needs logits draws token 1.
  static std::vector<SequenceUpdate> Commit(Planner& planner, Time now) {
    std::vector<LogitsResult> results;
    for (const SequenceChunk& chunk : planner.oldest().plan.chunks) {
      results.resize(results.size() + chunk.logits_rows, {.sampled = {1, 0}});
    }
    const auto updates = planner.Commit(now, results);
    return {updates.begin(), updates.end()};
  }
};

TEST_F(PlannerTest, PlansUntilEnoughIsUnderWay) {
  Planner planner(Options(), 2);
  EXPECT_EQ(planner.Next(), nullptr) << "nothing to run";
  Add(planner, Spec(1, 20, 1));
  const Planner::Step* const first = planner.Next();
  ASSERT_NE(first, nullptr);
  EXPECT_NE(planner.Next(), nullptr);
  EXPECT_EQ(planner.Next(), nullptr);
  EXPECT_EQ(&planner.oldest(), first) << "steps stay where they are";
  EXPECT_TRUE(Commit(planner, AtMs(1)).empty());
  EXPECT_EQ(planner.oldest().plan.chunks[0].first_position, 8);
  EXPECT_NE(planner.Next(), nullptr);
  Commit(planner, AtMs(2));
  const std::vector<SequenceUpdate> updates = Commit(planner, AtMs(3));
  ASSERT_EQ(updates.size(), 1u);
  EXPECT_EQ(updates[0].end, SequenceEnd::kLength);
  EXPECT_TRUE(planner.idle());
}

TEST_F(PlannerTest, AStepBehindAnotherBeginsWhenThatOneEnds) {
  Planner planner(Options(), 2);
  Add(planner, Spec(1, 20, 1));
  planner.Next()->launched = AtMs(10);
  planner.Next()->launched = AtMs(12);
  EXPECT_EQ(planner.TimeOfOldest(AtMs(30)), std::chrono::milliseconds(20));
  Commit(planner, AtMs(30));
  EXPECT_EQ(planner.TimeOfOldest(AtMs(35)), std::chrono::milliseconds(5));
}

TEST_F(PlannerTest, MeasuredStepsBoundThePrefillBesideDecodeRows) {
  SchedulerOptions options = Options();
  options.max_batch_tokens = 64;
  options.itl_bound = std::chrono::milliseconds(1);
  Planner planner(options, 1);
  Add(planner, Spec(1, 1, 20));
  planner.Next()->launched = AtMs(0);
  Commit(planner, AtMs(100));  // 100 ms for one row of prefill
  Add(planner, Spec(2, 60, 2));
  const Planner::Step* const step = planner.Next();
  EXPECT_EQ(step->plan.decode_rows, 1);
  EXPECT_EQ(step->plan.num_rows, 1 + 16) << "the least that a prompt gets on";
}

TEST_F(PlannerTest, UnderLoadAllOutputsOfARequestStartAtItsCeiling) {
  SchedulerOptions options = Options();
  options.brownout_waiting = 0;
  Planner planner(options, 1);
  const SkipSet half = *ParseSkipSet("attn:last=50%", kLayers);
  const auto add = [&](SequenceId id) {
    SequenceSpec spec = Spec(id, 3, 2);
    spec.ceiling = half;
    std::vector<SequenceSpec> outputs(2, spec);
    outputs[1].id = id + 1;
    outputs[1].output_index = 1;
    return planner.Add(outputs);
  };
  EXPECT_FALSE(add(1)) << "nothing waited when the request came";
  EXPECT_TRUE(add(3));
  EXPECT_EQ(planner.scheduler().Find(2)->skip, SkipSet(kLayers));
  EXPECT_EQ(planner.scheduler().Find(3)->skip, half);
  EXPECT_EQ(planner.scheduler().Find(4)->skip, half);
  SequenceSpec fixed = Spec(5, 3, 2);
  EXPECT_FALSE(planner.Add({&fixed, 1})) << "it allows no other set";
}

TEST_F(PlannerTest, WhatIsDroppedIsNotCommitted) {
  Planner planner(Options(), 2);
  Add(planner, Spec(1, 20, 1));
  planner.Next();
  planner.Drop();
  EXPECT_TRUE(planner.idle());
  EXPECT_TRUE(planner.Remove(1));
  EXPECT_EQ(planner.scheduler().Any(), nullptr);
  EXPECT_EQ(planner.scheduler().pool().used(), 0);
}

}  // namespace
}  // namespace skipstone
