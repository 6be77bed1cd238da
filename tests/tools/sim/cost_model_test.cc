#include "tools/sim/cost_model.h"

#include "engine/schedule/row_lists.h"
#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"
#include "tests/tools/sim/sim_fixture.h"

namespace skipstone {
namespace {

constexpr int kPageTokens = 16;
constexpr MachineProfile kH200{.reached = {4.8e12, 989e12}};

// `num_rows` rows of one sequence that end at `end` positions; the last one draws a token.
StepPlan PlanOf(const SkipSet& skip, int end, int num_rows) {
  StepPlan plan;
  plan.tokens.assign(num_rows, 1);
  plan.num_rows = num_rows;
  plan.chunks.push_back({.set = plan.SetOf(skip),
                         .first_position = end - num_rows,
                         .num_rows = num_rows,
                         .logits_rows = 1,
                         .samples = true});
  return plan;
}

double TimeOf(const MachineProfile& machine, const char* skip_text, int end, int num_rows) {
  const SkipSet skip = *ParseSkipSet(skip_text, 32);
  CostModel model(ShapeOf("synthetic:llama-2-7b"), machine, kPageTokens);
  return Seconds(model.TimeOf(PlanOf(skip, end, num_rows)));
}

TEST(CostModelTest, DecodeOfOneTokenReadsAllWeightsAndTheCache) {
  // 13,214,154,752 bytes of matrices, a row of the embedding, and 128 positions read and one
  // written at 16,384 bytes in each of 32 layers.
  const double bytes = 13214154752.0 + 2 * 4096 + (128 + 1) * 16384.0 * 32;
  EXPECT_NEAR(TimeOf(kH200, "none", 128, 1), bytes / 4.8e12, 2e-9);
}

TEST(CostModelTest, SkippedAttentionIsNeitherReadNorStored) {
  const double saved = 16 * (134217728.0 + (128 + 1) * 16384.0);
  EXPECT_NEAR(TimeOf(kH200, "none", 128, 1) - TimeOf(kH200, "attn:last=50%", 128, 1),
              saved / 4.8e12, 2e-9);
}

// What a decode step reads is its time: at a context of 4096 half of the attention layers read 1.07
// GB of K and V that windows do not, and skipping them saves their weights as well.
TEST(CostModelTest, WindowsReadTheSinkAndTheLastPositions) {
  constexpr double kPosition = 16384;  // bytes of K and V in one layer
  constexpr double kAttention = 134217728, kWeights = 13214154752;
  const double rest = kWeights + 2 * 4096 + 16 * (4096 + 1) * kPosition;
  const double full = rest + 16 * (4096 + 1) * kPosition;
  const double windowed = rest + 16 * (64 + kSinkTokens + 1) * kPosition;
  const double skipped = rest - 16 * kAttention;
  EXPECT_NEAR(full / windowed, 1.0736, 1e-4);
  EXPECT_NEAR(full / skipped, 1.2653, 1e-4);
  const double none = TimeOf(kH200, "none", 4096, 1);
  EXPECT_NEAR(none, full / 4.8e12, 2e-9);
  EXPECT_NEAR(none / TimeOf(kH200, "win:last=50%/64", 4096, 1), full / windowed, 1e-5);
  EXPECT_NEAR(none / TimeOf(kH200, "attn:last=50%", 4096, 1), full / skipped, 1e-5);
}

TEST(CostModelTest, APromptTakesItsFloorUnderItsRowLists) {
  for (const char* text : {"none", "attn:last=33%", "mlp:3+attn:20-30", "win:last=50%/64"}) {
    const SkipSet skip = *ParseSkipSet(text, 32);
    const StepPlan plan = PlanOf(skip, 700, 512);
    RowLists lists(32, kPageTokens, /*liveness=*/true);
    lists.Build(plan);
    const auto costs = CostOf(ShapeOf("synthetic:llama-2-7b"), {2, 2}, lists.input());
    EXPECT_NEAR(TimeOf(kH200, text, 700, 512), Floor(costs, kH200.reached), 2e-9) << text;
  }
}

TEST(CostModelTest, APromptOf2048IdeallyTakes26Ms) {
  // 25.8 TFLOP with the last layer's dead rows left out, at 989 TFLOP/s.
  EXPECT_NEAR(TimeOf(kH200, "none", 2048, 2048), 0.027, 0.002);
  const double half = TimeOf(kH200, "attn:last=50%", 2048, 2048);
  EXPECT_NEAR(TimeOf(kH200, "none", 2048, 2048) / half, 1.93, 0.02);  // PERFORMANCE.md
}

TEST(CostModelTest, OverheadComesOnTop) {
  MachineProfile machine = kH200;
  machine.step_overhead_s = 0.001;
  EXPECT_NEAR(TimeOf(machine, "none", 128, 1) - TimeOf(kH200, "none", 128, 1), 0.001, 2e-9);
}

TEST(CostModelTest, NoStepTakesNoTime) {
  CostModel model = ConstantCost(0);
  const SkipSet skip(kSimLayers);
  EXPECT_EQ(model.TimeOf(PlanOf(skip, 1, 1)), Duration(1));
}

}  // namespace
}  // namespace skipstone
