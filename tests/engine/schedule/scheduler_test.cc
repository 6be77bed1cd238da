#include "engine/schedule/scheduler.h"

#include <memory>
#include <vector>

#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

constexpr int kLayers = 4;
constexpr int kVocab = 50;

SequenceSpec Spec(SequenceId id, int prompt, int max_tokens, const char* skip = "none") {
  SequenceSpec spec{.id = id, .skip = *ParseSkipSet(skip, kLayers), .max_tokens = max_tokens};
  for (int i = 0; i < prompt; ++i)
    spec.prompt.push_back(static_cast<int32_t>(id * 31 + i) % kVocab);
  spec.arrival = Time(std::chrono::milliseconds(id));
  return spec;
}

SchedulerOptions Options(int max_batch_tokens, int64_t num_pages) {
  return {.max_batch_tokens = max_batch_tokens,
          .max_sequences = 64,
          .page_tokens = 4,
          .num_pages = num_pages};
}

// Results in which every row draws token 1.
std::vector<LogitsResult> Ones(const StepPlan& plan) {
  std::vector<LogitsResult> results;
  for (const SequenceChunk& chunk : plan.chunks) {
    for (int i = 0; i < chunk.logits_rows; ++i) results.push_back({.sampled = {1, 0}});
  }
  return results;
}

TEST(SchedulerTest, CutsAPromptIntoChunksOfTheBudget) {
  Scheduler scheduler(Options(8, 100));
  scheduler.Add(Spec(1, 20, 4));
  std::vector<int> rows;
  for (int i = 0; i < 3; ++i) {
    const StepPlan plan = scheduler.Next();
    ASSERT_EQ(plan.chunks.size(), 1u);
    rows.push_back(plan.num_rows);
    EXPECT_EQ(plan.chunks[0].samples, i == 2);
    EXPECT_EQ(plan.chunks[0].logits_rows, i == 2 ? 1 : 0);
    scheduler.Commit(plan, Ones(plan));
  }
  EXPECT_EQ(rows, (std::vector<int>{8, 8, 4}));
}

TEST(SchedulerTest, DecodeRowsGoBeforePrefill) {
  Scheduler scheduler(Options(8, 100));
  scheduler.Add(Spec(1, 3, 10));
  StepPlan plan = scheduler.Next();
  scheduler.Commit(plan, Ones(plan));
  scheduler.Add(Spec(2, 30, 4));
  plan = scheduler.Next();
  ASSERT_EQ(plan.chunks.size(), 2u);
  EXPECT_EQ(plan.chunks[0].sequence, 1u);
  EXPECT_EQ(plan.chunks[0].num_rows, 1);
  EXPECT_EQ(plan.chunks[1].num_rows, 7);
}

TEST(SchedulerTest, KeepsNewcomersWaitingWhileDecodeRowsFillTheBudget) {
  Scheduler scheduler(Options(2, 100));
  for (SequenceId id = 1; id <= 3; ++id) scheduler.Add(Spec(id, 1, 5));
  for (int i = 0; i < 5; ++i) {
    const StepPlan plan = scheduler.Next();
    ASSERT_EQ(plan.chunks.size(), 2u);
    EXPECT_EQ(plan.chunks[1].sequence, 2u);
    scheduler.Commit(plan, Ones(plan));
  }
  EXPECT_EQ(scheduler.Next().chunks.at(0).sequence, 3u);
}

TEST(SchedulerTest, AdmitsOnlyWhatHasPagesForItsPromptAndABlock) {
  // 4 layers, blocks of 4 tokens: a prompt of 8 needs 8 pages, and 4 for one more block.
  Scheduler scheduler(Options(64, 23));
  scheduler.Add(Spec(1, 8, 12));
  scheduler.Add(Spec(2, 8, 12));
  StepPlan plan = scheduler.Next();
  EXPECT_EQ(plan.chunks.size(), 1u);
  EXPECT_EQ(scheduler.num_waiting(), 1);
}

TEST(SchedulerTest, SkippedLayersMakeRoomForMoreSequences) {
  Scheduler scheduler(Options(64, 24));
  for (SequenceId id = 1; id <= 4; ++id) scheduler.Add(Spec(id, 8, 5, "attn:last=50%"));
  EXPECT_EQ(scheduler.Next().chunks.size(), 4u);
  Scheduler full(Options(64, 24));
  for (SequenceId id = 1; id <= 4; ++id) full.Add(Spec(id, 8, 5));
  EXPECT_EQ(full.Next().chunks.size(), 2u);
}

TEST(SchedulerTest, PreemptsYoungestThatHasPagesWhenPagesRunOut) {
  Scheduler scheduler(Options(64, 24));
  scheduler.Add(Spec(1, 8, 13));
  scheduler.Add(Spec(2, 8, 13));
  scheduler.Add(Spec(3, 8, 13, "attn:0-3"));
  int preempted_at = 0;
  for (int step = 1; step < 10 && preempted_at == 0; ++step) {
    const StepPlan plan = scheduler.Next();
    if (plan.preemptions > 0) {
      preempted_at = step;
      EXPECT_EQ(scheduler.Find(2)->preemptions, 1);
      EXPECT_FALSE(scheduler.Find(2)->running());
      EXPECT_EQ(plan.preemptions, 1);
      EXPECT_TRUE(scheduler.Find(3)->running()) << "it has no page to give";
      EXPECT_EQ(plan.chunks.size(), 2u);
      EXPECT_EQ(plan.chunks[0].sequence, 1u);
    }
    scheduler.Commit(plan, Ones(plan));
  }
  EXPECT_GT(preempted_at, 0);
}

TEST(SchedulerTest, PriorityGoesBeforeArrival) {
  Scheduler scheduler(Options(64, 12));
  scheduler.Add(Spec(1, 8, 4));
  SequenceSpec urgent = Spec(2, 8, 4);
  urgent.priority = 1;
  scheduler.Add(urgent);
  const StepPlan plan = scheduler.Next();
  ASSERT_EQ(plan.chunks.size(), 1u);
  EXPECT_EQ(plan.chunks[0].sequence, 2u);
}

TEST(SchedulerTest, WaitingOutweighsPriorityInTheEnd) {
  for (const int later_s : {29, 31}) {
    Scheduler scheduler(Options(64, 12));
    SequenceSpec patient = Spec(1, 8, 4);
    SequenceSpec urgent = Spec(2, 8, 4);
    urgent.arrival = patient.arrival + std::chrono::seconds(later_s);
    urgent.priority = 1;
    scheduler.Add(patient);
    scheduler.Add(urgent);
    const StepPlan plan = scheduler.Next();
    ASSERT_EQ(plan.chunks.size(), 1u);
    EXPECT_EQ(plan.chunks[0].sequence, later_s == 29 ? 2u : 1u);
  }
}

TEST(SchedulerTest, DropsTheOverrunRowOfASequenceThatEnded) {
  Scheduler scheduler(Options(64, 100));
  SequenceSpec spec = Spec(1, 3, 10);
  spec.stop_ids = {1};
  scheduler.Add(spec);
  const StepPlan first = scheduler.Next();
  const StepPlan second = scheduler.Next();
  ASSERT_EQ(second.num_rows, 1);
  EXPECT_EQ(second.tokens, (std::vector<int32_t>{kSampledToken}));
  const auto updates = scheduler.Commit(first, Ones(first));
  ASSERT_EQ(updates.size(), 1u);
  EXPECT_EQ(updates[0].end, SequenceEnd::kStopToken);
  EXPECT_TRUE(scheduler.Commit(second, Ones(second)).empty());
  EXPECT_EQ(scheduler.pool().used(), 0);
}

TEST(SchedulerTest, PlansNothingBeyondTheLastToken) {
  Scheduler scheduler(Options(64, 100));
  scheduler.Add(Spec(1, 3, 1));
  const StepPlan first = scheduler.Next();
  EXPECT_TRUE(scheduler.Next().empty());
  EXPECT_EQ(scheduler.Commit(first, Ones(first))[0].end, SequenceEnd::kLength);
}

TEST(SchedulerTest, ScoresWithoutDrawingATokenAndWithoutTheLastRow) {
  Scheduler scheduler(Options(4, 100));
  SequenceSpec spec = Spec(1, 10, 1);
  spec.score_from = 3;
  scheduler.Add(spec);
  int logits_rows = 0;
  int rows = 0;
  SequenceEnd end = SequenceEnd::kNone;
  while (end == SequenceEnd::kNone) {
    const StepPlan plan = scheduler.Next();
    ASSERT_FALSE(plan.empty());
    EXPECT_FALSE(plan.chunks[0].samples);
    rows += plan.num_rows;
    logits_rows += plan.chunks[0].logits_rows;
    for (const SequenceUpdate& update : scheduler.Commit(plan, Ones(plan))) end = update.end;
  }
  EXPECT_EQ(end, SequenceEnd::kScored);
  EXPECT_EQ(rows, 9);
  EXPECT_EQ(logits_rows, 7);  // tokens 3..9
}

TEST(SchedulerTest, ReportsDeadlinesAndTimeLimits) {
  Scheduler scheduler(Options(64, 100));
  SequenceSpec spec = Spec(1, 3, 10);
  spec.deadline = Time(std::chrono::seconds(5));
  spec.time_limit = Time(std::chrono::seconds(3));
  scheduler.Add(spec);
  EXPECT_TRUE(scheduler.PastTimeLimit(Time(std::chrono::seconds(2))).empty());
  EXPECT_EQ(scheduler.PastTimeLimit(Time(std::chrono::seconds(3))).size(), 1u);
  EXPECT_TRUE(scheduler.PastDeadline(Time(std::chrono::seconds(4))).empty());
  EXPECT_EQ(scheduler.PastDeadline(Time(std::chrono::seconds(5))).size(), 1u);
}

TEST(SchedulerTest, ASecondPromptAdoptsTheBlocksOfTheFirst) {
  Scheduler scheduler(Options(64, 100));
  SequenceSpec spec = Spec(1, 12, 4);
  scheduler.Add(spec);
  StepPlan plan = scheduler.Next();
  scheduler.Commit(plan, Ones(plan));
  spec.id = 2;
  spec.skip = *ParseSkipSet("attn:last=50%", kLayers);
  scheduler.Add(spec);
  plan = scheduler.Next();
  ASSERT_EQ(plan.chunks.size(), 2u);
  // floor((12 - 1) / 4) blocks: the last token must run for its logits.
  EXPECT_EQ(plan.chunks[1].first_position, 8);
  EXPECT_EQ(plan.prefix_hit_tokens, 8);
  EXPECT_EQ(scheduler.Find(2)->cached_tokens, 8);
  EXPECT_EQ(plan.slot_starts.size(), 1u);
}

TEST(SchedulerTest, WantedPromptLogprobsEndTheHit) {
  Scheduler scheduler(Options(64, 100));
  SequenceSpec spec = Spec(1, 12, 4);
  scheduler.Add(spec);
  StepPlan plan = scheduler.Next();
  scheduler.Commit(plan, Ones(plan));
  spec.id = 2;
  spec.score_from = 7;  // row 6 needs logits
  scheduler.Add(spec);
  plan = scheduler.Next();
  EXPECT_EQ(plan.chunks[1].first_position, 4);
}

TEST(SchedulerTest, LaterOutputsOfARequestShareItsPromptPages) {
  Scheduler scheduler(Options(64, 100));
  const auto group = std::make_shared<SequenceGroup>();
  for (int i = 0; i < 3; ++i) {
    SequenceSpec spec = Spec(1, 12, 4);
    spec.id = 1 + i;
    spec.group = group;
    spec.output_index = i;
    scheduler.Add(spec);
  }
  EXPECT_EQ(group->sequences.size(), 3u);
  EXPECT_EQ(group->sequences[2]->state(), SequenceState::kFollowing);
  EXPECT_EQ(group->sequences[2]->leader, group->sequences[0]);
  StepPlan plan = scheduler.Next();
  EXPECT_EQ(plan.chunks.size(), 1u);
  scheduler.Commit(plan, Ones(plan));
  plan = scheduler.Next();
  ASSERT_EQ(plan.chunks.size(), 3u);
  EXPECT_EQ(plan.chunks[1].num_rows, 4);
  EXPECT_EQ(plan.chunks[2].num_rows, 4);
  scheduler.Remove(2);
  EXPECT_EQ(group->sequences.size(), 2u);
}

TEST(SchedulerTest, RowsThatStopEarlyFillABudgetOfWork) {
  // A silent row of attn:last=50% of 4 layers costs 5/13 of one without skipping.
  Scheduler scheduler(Options(10, 100));
  scheduler.Add(Spec(1, 40, 4, "attn:last=50%"));
  StepPlan plan = scheduler.Next();
  EXPECT_EQ(plan.num_rows, 20) << "26 rows of work, and twice the budget in rows";
  scheduler.Commit(plan, Ones(plan));
  Scheduler quarter(Options(10, 100));
  quarter.Add(Spec(1, 40, 4, "attn:last=25%"));
  EXPECT_EQ(quarter.Next().num_rows, 14) << "10 / (9/13)";
}

TEST(SchedulerTest, LimitsPrefillOnlyBesideDecodeRows) {
  Scheduler scheduler(Options(64, 100));
  scheduler.LimitPrefill(5);
  scheduler.Add(Spec(1, 20, 8));
  StepPlan plan = scheduler.Next();
  EXPECT_EQ(plan.num_rows, 20) << "nobody decodes";
  scheduler.Commit(plan, Ones(plan));
  scheduler.Add(Spec(2, 20, 8));
  plan = scheduler.Next();
  EXPECT_EQ(plan.decode_rows, 1);
  EXPECT_EQ(plan.prefill_work, 5);
}

TEST(SchedulerTest, ShedsLayersInsteadOfPreempting) {
  Scheduler scheduler(Options(64, 24));
  scheduler.Add(Spec(1, 8, 9));
  SequenceSpec adaptive = Spec(2, 8, 9);
  adaptive.ceiling = *ParseSkipSet("attn:last=50%", kLayers);
  scheduler.Add(adaptive);
  int shed = 0;
  std::vector<AppliedRange> applied;
  while (scheduler.num_running() + scheduler.num_waiting() > 0 || shed == 0) {
    const StepPlan plan = scheduler.Next();
    ASSERT_FALSE(plan.empty());
    ASSERT_EQ(plan.preemptions, 0);
    shed += plan.shed_layers;
    for (SequenceUpdate& update : scheduler.Commit(plan, Ones(plan))) {
      if (update.applied.empty()) continue;
      EXPECT_EQ(update.id, 2u);
      applied.insert(applied.end(), update.applied.begin(), update.applied.end());
    }
  }
  EXPECT_GE(shed, 1);
  EXPECT_LE(shed, 2);
  ASSERT_FALSE(applied.empty());
  EXPECT_GT(applied.front().from_token, 0);
  EXPECT_TRUE(adaptive.ceiling->Contains(applied.back().skip));
  EXPECT_EQ(scheduler.pool().used(), 0);
}

TEST(SchedulerTest, ShedsNoMoreThanIsNeeded) {
  // Both hold 4 layers x 2 blocks of 20 pages; growth needs 4 each and 4 are free.
  Scheduler scheduler(Options(64, 20));
  for (SequenceId id = 1; id <= 2; ++id) {
    SequenceSpec spec = Spec(id, 5, 10);
    spec.ceiling = *ParseSkipSet("attn:last=75%", kLayers);
    scheduler.Add(spec);
  }
  for (int step = 0; step < 10; ++step) {
    const StepPlan plan = scheduler.Next();
    if (plan.shed_layers > 0) {
      // 4 - 4 = 0 pages are left for the second: its set loses 2 layers, 2 blocks each.
      EXPECT_EQ(plan.shed_layers, 2);
      EXPECT_EQ(plan.shed_pages, 4);
      EXPECT_EQ(scheduler.Find(1)->skip.ToString(), "none");
      EXPECT_EQ(scheduler.Find(2)->skip.ToString(), "attn:2-3");
      return;
    }
    scheduler.Commit(plan, Ones(plan));
  }
  FAIL() << "nothing was shed";
}

TEST(SchedulerTest, FindsDeadlinesThatCannotBeMet) {
  Scheduler scheduler(Options(8, 100));
  scheduler.Add(Spec(1, 8, 50));
  StepPlan plan = scheduler.Next();
  scheduler.Commit(plan, Ones(plan));
  SequenceSpec waits = Spec(2, 40, 4);
  waits.deadline = Time(std::chrono::seconds(10));
  scheduler.Add(waits);
  const auto at = [](int s) { return Time(std::chrono::seconds(s)); };
  EXPECT_TRUE(scheduler.Unreachable(at(9), 0).empty()) << "no rate is known";
  // 40 rows at 10 a second: 4 seconds.
  EXPECT_TRUE(scheduler.Unreachable(at(5), 10).empty());
  EXPECT_EQ(scheduler.Unreachable(at(7), 10), std::vector<SequenceId>{2});
  EXPECT_EQ(scheduler.Find(2)->planned, 0);
  EXPECT_EQ(scheduler.pool().used(), scheduler.Find(1)->pages.num_pages());
}

TEST(SchedulerTest, ACachedPrefixNeedsNoTimeBeforeADeadline) {
  Scheduler scheduler(Options(64, 100));
  SequenceSpec spec = Spec(1, 41, 50);
  scheduler.Add(spec);
  StepPlan plan = scheduler.Next();
  scheduler.Commit(plan, Ones(plan));
  spec.id = 2;
  spec.deadline = Time(std::chrono::seconds(10));
  scheduler.Add(spec);
  // One row is left of 41: 0.1 s.
  EXPECT_TRUE(scheduler.Unreachable(Time(std::chrono::seconds(9)), 10).empty());
  EXPECT_EQ(scheduler.Unreachable(Time(std::chrono::milliseconds(9950)), 10).size(), 1u);
}

TEST(SchedulerTest, OverloadedAboveTheMarks) {
  SchedulerOptions options = Options(64, 24);
  options.brownout_waiting = 1;
  Scheduler scheduler(options);
  for (SequenceId id = 1; id <= 2; ++id) {
    EXPECT_FALSE(scheduler.Overloaded());
    scheduler.Add(Spec(id, 8, 4));
  }
  EXPECT_TRUE(scheduler.Overloaded()) << "two wait";
  options.brownout_waiting = 100;
  options.brownout_pages = 0.3;  // of 24 pages
  Scheduler pages(options);
  pages.Add(Spec(1, 8, 4));
  EXPECT_FALSE(pages.Overloaded());
  pages.Next();
  EXPECT_TRUE(pages.Overloaded()) << "8 pages are in use";
}

TEST(SchedulerTest, AHeadOfTheQueueThatFitsStartsAsSoonAsItDoes) {
  Scheduler scheduler(Options(64, 24));
  scheduler.Add(Spec(1, 8, 5));
  scheduler.Add(Spec(2, 12, 2));
  std::vector<SequenceId> order;
  while (scheduler.num_running() + scheduler.num_waiting() > 0 || order.empty()) {
    const StepPlan plan = scheduler.Next();
    ASSERT_FALSE(plan.empty());
    for (const SequenceId id : plan.started) order.push_back(id);
    if (order.size() == 2) break;
    // While the first runs its prompt, a block more is promised to it.
    EXPECT_TRUE(plan.decode_rows == 0 || 24 - scheduler.pool().used() < 16)
        << "it would fit by now";
    scheduler.Commit(plan, Ones(plan));
  }
  EXPECT_EQ(order, (std::vector<SequenceId>{1, 2}));
}

}  // namespace
}  // namespace skipstone
