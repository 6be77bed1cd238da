#include "engine/warm_up.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "engine/schedule/row_lists.h"
#include "engine/skip/skip_grammar.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/mapped_set.h"

namespace skipstone {
namespace {

using testing::ElementsAre;

const ModelShape kShape{.num_layers = 4, .max_context = 128};

// Checks every plan against the limits and notes what it ran.
class CheckingRunner : public ModelRunner {
 public:
  explicit CheckingRunner(const StepLimits& limits) : limits_(limits) {}

  void Launch(const StepPlan& plan) override {
    EXPECT_LE(plan.num_rows, limits_.max_rows);
    EXPECT_LE(std::ssize(plan.chunks), limits_.max_slots);
    for (const SequenceChunk& chunk : plan.chunks) {
      EXPECT_LE(chunk.num_rows, kShape.max_context);
      CheckPages(plan, chunk);
    }
    std::set<int32_t> started;
    for (const SlotStart& start : plan.slot_starts) {
      EXPECT_NE(start.sampling, nullptr);
      started.insert(start.slot);
    }
    EXPECT_EQ(started.size(), plan.chunks.size());
    RowLists rows(kShape.num_layers, 16, /*liveness=*/true, MapsOf({1}, kShape.num_layers));
    rows.Build(plan);
    const auto logits = std::ssize(rows.input().logits);
    EXPECT_LE(logits, limits_.max_logits_rows);
    const auto unordered = std::ranges::count_if(
        rows.input().layers, [](const LayerRows& layer) { return layer.kv_rows.index != nullptr; });
    steps.push_back({plan.num_rows, static_cast<int>(logits),
                     plan.SkipOf(plan.chunks[0]).ToString(), static_cast<int>(unordered)});
    ++in_flight_;
  }
  StepResults Collect() override {
    EXPECT_EQ(in_flight_--, 1);
    StepResults results;
    if (static_cast<int>(steps.size()) == failing_step) results.status = absl::InternalError("x");
    return results;
  }
  int max_in_flight() const override { return 2; }

  struct Step {
    int rows;
    int logits;
    std::string skip;
    int unordered_lists = 0;
    bool operator==(const Step&) const = default;
  };
  std::vector<Step> steps;
  int failing_step = -1;

 private:
  // A page for every position that the chunk stores.
  void CheckPages(const StepPlan& plan, const SequenceChunk& chunk) {
    std::set<std::pair<int, int>> blocks;
    for (const PageUpdate& update : plan.page_updates) {
      EXPECT_GE(update.page, 0);
      EXPECT_LT(update.page, limits_.num_pages);
      if (update.slot == chunk.slot) blocks.insert({update.layer, update.block});
    }
    for (int layer = 0; layer < kShape.num_layers; ++layer) {
      for (int p = 0; p < chunk.num_rows; ++p) {
        EXPECT_EQ(blocks.contains({layer, p / limits_.page_tokens}),
                  plan.SkipOf(chunk).KeepsAttention(layer));
      }
    }
  }

  const StepLimits limits_;
  int in_flight_ = 0;
};

constexpr StepLimits kLimits{
    .max_rows = 100, .max_logits_rows = 50, .max_slots = 16, .page_tokens = 16, .num_pages = 9};

TEST(WarmUpTest, RunsLevelsAndPromptsOfEverySize) {
  CheckingRunner runner(kLimits);
  const std::vector<SkipSet> levels = *ParseSkipList("attn:last=2", kShape.num_layers);
  ASSERT_TRUE(WarmUp(kShape, kLimits, levels, runner).ok());
  using Step = CheckingRunner::Step;
  EXPECT_THAT(runner.steps,
              ElementsAre(Step{1, 1, "none"}, Step{9, 9, "none"}, Step{1, 1, "attn:2-3"},
                          Step{9, 9, "attn:2-3"}, Step{32, 31, "none"}, Step{64, 50, "none"},
                          Step{100, 50, "none"}));
}

// Their maps are products that no other set has.
TEST(WarmUpTest, RunsPromptsOfCompensatedLevelsToo) {
  CheckingRunner runner(kLimits);
  const std::vector<SkipSet> levels = {MappedSet("attn:3", kShape.num_layers),
                                       MappedSet("attn:2-3@1", kShape.num_layers)};
  ASSERT_TRUE(WarmUp(kShape, kLimits, levels, runner).ok());
  const std::string plain = levels[0].ToString(), mapped = levels[1].ToString();
  using Step = CheckingRunner::Step;
  EXPECT_THAT(runner.steps,
              ElementsAre(Step{1, 1, "none"}, Step{9, 9, "none"}, Step{1, 1, plain},
                          Step{9, 9, plain}, Step{1, 1, mapped}, Step{9, 9, mapped},
                          Step{32, 31, "none"}, Step{64, 50, "none"}, Step{100, 50, "none"},
                          Step{32, 31, mapped}, Step{64, 50, mapped}, Step{100, 50, mapped}));
}

TEST(WarmUpTest, RunsSetsWhoseRowsAreNoRange) {
  StepLimits limits = kLimits;
  limits.max_slots = 40;
  CheckingRunner runner(limits);
  ASSERT_TRUE(WarmUp(kShape, limits, {}, runner).ok());
  std::vector<int> unordered;
  for (const auto& step : runner.steps) {
    if (step.unordered_lists > 0) unordered.push_back(step.rows);
  }
  EXPECT_THAT(unordered, ElementsAre(40));
}

TEST(WarmUpTest, SharesLargePromptsOutAmongSlots) {
  StepLimits limits = kLimits;
  limits.max_rows = limits.max_logits_rows = 300;
  CheckingRunner runner(limits);
  ASSERT_TRUE(WarmUp(kShape, limits, {}, runner).ok());
  EXPECT_EQ(runner.steps.back(), (CheckingRunner::Step{300, 299, "none"}));
}

// Prompts that need more slots than there are run as far as they go.
TEST(WarmUpTest, KeepsToTheSmallestLimits) {
  StepLimits limits{
      .max_rows = 1, .max_logits_rows = 1, .max_slots = 1, .page_tokens = 1, .num_pages = 4};
  CheckingRunner one(limits);
  ASSERT_TRUE(WarmUp(kShape, limits, {}, one).ok());
  EXPECT_EQ(one.steps.front(), (CheckingRunner::Step{1, 1, "none"}));
  limits.max_rows = 1024;
  CheckingRunner many(limits);
  ASSERT_TRUE(WarmUp(kShape, limits, {}, many).ok());
  EXPECT_EQ(many.steps.back().rows, kShape.max_context);
}

TEST(WarmUpTest, EndsWithTheFirstError) {
  CheckingRunner runner(kLimits);
  runner.failing_step = 2;
  EXPECT_EQ(WarmUp(kShape, kLimits, {}, runner).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(runner.steps.size(), 2u);
}

}  // namespace
}  // namespace skipstone
