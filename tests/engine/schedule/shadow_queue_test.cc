#include "engine/schedule/shadow_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "engine/schedule/scheduler.h"
#include "engine/skip/skip_grammar.h"

namespace skipstone {
namespace {

using testing::ElementsAre;

constexpr int kLayers = 4;

// A scheduler of blocks of 4 tokens.
class ShadowQueueTest : public testing::Test {
 protected:
  void Start(int64_t pages, int slots = 8) {
    options_.num_pages = pages;
    options_.max_sequences = slots;
    scheduler_ = std::make_unique<Scheduler>(options_);
  }
  void Add(SequenceId id, int tokens, int score_from, const char* skip = "attn:last=50%") {
    ShadowSpec spec{.id = id,
                    .tokens = std::vector<int32_t>(tokens),
                    .score_from = score_from,
                    .skip = *ParseSkipSet(skip, kLayers)};
    std::iota(spec.tokens.begin(), spec.tokens.end(), static_cast<int32_t>(100 * id));
    scheduler_->AddShadow(spec);
  }
  // A request of the same tokens.
  void AddRequest(SequenceId id, int prompt, int max_tokens) {
    SequenceSpec spec{.id = 1000 + id,
                      .prompt = std::vector<int32_t>(prompt),
                      .skip = SkipSet(kLayers),
                      .max_tokens = max_tokens};
    std::iota(spec.prompt.begin(), spec.prompt.end(), static_cast<int32_t>(100 * id));
    scheduler_->Add(spec);
  }
  StepPlan Step() {
    StepPlan plan = scheduler_->Next();
    std::vector<LogitsResult> results;
    for (const SequenceChunk& chunk : plan.chunks) {
      for (int i = 0; i < chunk.logits_rows; ++i) {
        results.push_back({.sampled = {1, 0},
                           .target = {static_cast<int32_t>(results.size()), 0},
                           .top = {{1, 0}},
                           .kl = chunk.reference >= 0 ? 1.0f : 0.0f});
      }
    }
    scheduler_->Commit(plan, results);
    for (auto& ended : scheduler_->TakeShadows()) ended_.push_back(std::move(ended));
    return plan;
  }
  std::vector<SequenceId> Dropped() const {
    std::vector<SequenceId> ids;
    for (const auto& ended : ended_) {
      if (!ended.rows) ids.push_back(ended.id);
    }
    return ids;
  }

  SchedulerOptions options_{.max_batch_tokens = 64, .page_tokens = 4, .shadow_rows = 16};
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<ShadowQueue::Ended> ended_;
};

TEST_F(ShadowQueueTest, BothSidesOfARowShareAStep) {
  Start(100);
  Add(1, 21, 5);
  int rows = 0, compared = 0;
  while (scheduler_->HasShadows()) {
    const StepPlan plan = Step();
    ASSERT_EQ(plan.chunks.size(), 2);
    const SequenceChunk& full = plan.chunks[0];
    const SequenceChunk& level = plan.chunks[1];
    EXPECT_TRUE(full.shadow && level.shadow);
    EXPECT_EQ(plan.SkipOf(full), SkipSet(kLayers));
    EXPECT_EQ(plan.SkipOf(level), *ParseSkipSet("attn:last=50%", kLayers));
    EXPECT_EQ(level.reference, 0);
    EXPECT_EQ(full.reference, -1);
    EXPECT_EQ(level.first_position, full.first_position);
    EXPECT_EQ(level.logits_rows, full.logits_rows);
    EXPECT_LE(plan.num_rows, 16);
    EXPECT_EQ(plan.shadow_rows, plan.num_rows);
    rows += level.num_rows;
    compared += level.logits_rows;
  }
  EXPECT_EQ(rows, 20);
  EXPECT_EQ(compared, 16);
  ASSERT_EQ(ended_.size(), 1);
  EXPECT_EQ(ended_[0].rows->level.size(), 16);
  EXPECT_EQ(ended_[0].rows->full.size(), 16);
  EXPECT_EQ(ended_[0].rows->level[3].kl, 1);
  EXPECT_EQ(ended_[0].rows->full[3].kl, 0);
  EXPECT_EQ(scheduler_->pool().used(), 0);
  EXPECT_TRUE(Step().empty());
}

TEST_F(ShadowQueueTest, TakesFromThePrefixCacheAndLeavesNothingThere) {
  Start(100);
  AddRequest(1, 14, 1);
  Step();
  const int64_t cached = scheduler_->pool().cached();
  ASSERT_GT(cached, 0);
  Add(1, 20, 14);
  const StepPlan plan = Step();
  // Three blocks of the full model, of which the level has the lower layers.
  EXPECT_EQ(plan.chunks[0].first_position, 12);
  EXPECT_EQ(plan.chunks[1].first_position, 12);
  while (scheduler_->HasShadows()) Step();
  EXPECT_EQ(scheduler_->pool().cached(), cached);
  EXPECT_EQ(ended_[0].rows->level.size(), 6);
}

TEST_F(ShadowQueueTest, TheOneThatIsBehindCatchesUpFirst) {
  Start(100);
  AddRequest(1, 14, 1);
  Step();
  // Of this set the cache has nothing, of the full model three blocks.
  Add(1, 20, 14, "attn:0");
  std::vector<std::pair<int, int>> chunks;  // position, rows
  while (scheduler_->HasShadows()) {
    for (const SequenceChunk& chunk : Step().chunks) {
      chunks.push_back({chunk.first_position, chunk.num_rows});
    }
  }
  EXPECT_THAT(chunks, ElementsAre(std::pair(0, 12), std::pair(12, 7), std::pair(12, 7)));
  EXPECT_EQ(ended_[0].rows->full.size(), 6);
}

TEST_F(ShadowQueueTest, WaitsWhileOthersHaveRows) {
  Start(100);
  Add(2, 21, 5);
  AddRequest(1, 6, 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Step().shadow_rows, 0) << i;
  EXPECT_GT(Step().shadow_rows, 0);
  // In the middle of it, too; and what it has done is not lost.
  AddRequest(3, 6, 2);
  EXPECT_EQ(Step().shadow_rows, 0);
  EXPECT_EQ(Step().shadow_rows, 0);
  int rows = 0;
  while (scheduler_->HasShadows()) rows += Step().shadow_rows;
  EXPECT_EQ(rows, 2 * 20 - 16);
  EXPECT_THAT(Dropped(), ElementsAre());
}

TEST_F(ShadowQueueTest, GoesBesideDecodeRowsWhereTheDeviceHasRoom) {
  options_.shadow_rows_beside = 4;
  Start(100);
  AddRequest(1, 6, 8);
  EXPECT_EQ(Step().shadow_rows, 0);  // a prompt
  Add(2, 21, 5);
  for (int i = 0; i < 4; ++i) {
    const StepPlan plan = Step();
    EXPECT_EQ(plan.decode_rows, 1);
    EXPECT_EQ(plan.shadow_rows, 4);
    EXPECT_EQ(plan.chunks.back().reference, 1);
  }
}

TEST_F(ShadowQueueTest, GivesPagesAndSlotsToWhoeverNeedsThem) {
  Start(64);  // the pair takes 10 pages of each kept layer: 60 in all
  Add(2, 40, 5);
  Step();
  ASSERT_GT(scheduler_->pool().used(), 0);
  AddRequest(1, 54, 4);  // 56, and 4 for one more block
  EXPECT_EQ(Step().chunks.at(0).sequence, 1001);
  EXPECT_THAT(Dropped(), ElementsAre(2));
}

TEST_F(ShadowQueueTest, IsDroppedBeforeAnybodyIsPreempted) {
  Start(36);
  Add(2, 10, 5);  // holds 12 pages after its first step
  Step();
  AddRequest(1, 6, 20);  // 28 pages at its end
  int preemptions = 0;
  while (scheduler_->num_running() + scheduler_->num_waiting() > 0)
    preemptions += Step().preemptions;
  EXPECT_EQ(preemptions, 0);
  EXPECT_THAT(Dropped(), ElementsAre(2));
}

TEST_F(ShadowQueueTest, GivesItsSlotsToWhoeverWaits) {
  Start(100, 2);
  Add(2, 40, 5);
  Step();
  AddRequest(1, 6, 4);
  Step();
  EXPECT_THAT(Dropped(), ElementsAre(2));
  EXPECT_EQ(scheduler_->num_running(), 1);
}

TEST_F(ShadowQueueTest, ResultsOfADroppedOneAreNotTaken) {
  Start(100, 2);
  Add(2, 40, 5);
  const StepPlan plan = scheduler_->Next();
  ASSERT_EQ(plan.chunks.size(), 2);
  scheduler_->DropShadows();
  Add(4, 40, 5);
  const StepPlan later = scheduler_->Next();
  int64_t rows = 0;
  for (const SequenceChunk& chunk : plan.chunks) rows += chunk.logits_rows;
  scheduler_->Commit(plan, std::vector<LogitsResult>(rows));
  EXPECT_TRUE(scheduler_->HasShadows());
  EXPECT_EQ(later.chunks.at(0).sequence, 5);
}

TEST_F(ShadowQueueTest, TheQueueIsBounded) {
  Start(100);
  for (SequenceId id = 2; id < 2 + 2 * 70; id += 2) Add(id, 9, 5);
  for (auto& ended : scheduler_->TakeShadows()) ended_.push_back(std::move(ended));
  EXPECT_EQ(ended_.size(), 70 - 64);
  EXPECT_EQ(Dropped()[0], 2);  // what was served last tells most
}

TEST_F(ShadowQueueTest, WhatCanNeverRunIsDroppedAtOnce) {
  Start(20);
  Add(2, 40, 5);
  EXPECT_FALSE(scheduler_->HasShadows());
  Start(100, 1);
  Add(2, 9, 5);
  EXPECT_FALSE(scheduler_->HasShadows());
  options_.shadow_rows = 0;
  Start(100);
  Add(2, 9, 5);
  EXPECT_FALSE(scheduler_->HasShadows());
}

TEST_F(ShadowQueueTest, LogitsThatAreNotFiniteEndIt) {
  Start(100);
  Add(2, 9, 5);
  const StepPlan plan = scheduler_->Next();
  std::vector<LogitsResult> results(8);
  results[6].finite = false;
  scheduler_->Commit(plan, results);
  EXPECT_FALSE(scheduler_->HasShadows());
  EXPECT_FALSE(scheduler_->TakeShadows().at(0).rows);
  EXPECT_EQ(scheduler_->pool().used(), 0);
}

}  // namespace
}  // namespace skipstone
