#include "tools/bench/step_cost.h"

#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

using testing::ElementsAre;

constexpr ModelShape kShape{
    .num_layers = 2, .hidden = 4, .heads = 2, .kv_heads = 1, .head_dim = 2, .ffn = 6, .vocab = 10};
constexpr ElementBytes kBytes{.weights = 2, .kv = 4};

std::map<std::string, StageCost> LayerCost(const LayerWork& work) {
  std::vector<StageCost> costs;
  AddLayerCost(kShape, kBytes, work, &costs);
  std::map<std::string, StageCost> found;
  for (const StageCost& cost : costs) found[NameOf(cost.stage)] = cost;
  EXPECT_EQ(found.size(), costs.size());
  return found;
}

void ExpectCost(const StageCost& cost, double weight_bytes, double kv_bytes, double flops) {
  EXPECT_EQ(cost.weight_bytes, weight_bytes) << NameOf(cost.stage);
  EXPECT_EQ(cost.kv_bytes, kv_bytes) << NameOf(cost.stage);
  EXPECT_EQ(cost.flops, flops) << NameOf(cost.stage);
}

// Three rows are stored, two of them ask, one goes on to the MLP.
TEST(StepCostTest, ALayerByHand) {
  const auto costs =
      LayerCost({.kv_rows = 3, .query_rows = 2, .mlp_rows = 1, .read_positions = 5, .pairs = 7});
  ASSERT_EQ(costs.size(), 5u);
  ExpectCost(costs.at("qkv"), 4 * (4 + 2 + 2) * 2, 3 * (2 + 2) * 4, 2 * 4 * (2 * 4 + 3 * 4));
  ExpectCost(costs.at("attend"), 0, 5 * (2 + 2) * 4, 2 * 2 * 7 * 4);
  ExpectCost(costs.at("project"), 4 * 4 * 2, 0, 2 * 2 * 4 * 4);
  ExpectCost(costs.at("gate_up"), 2 * 4 * 6 * 2, 0, 2 * 2 * 4 * 6);
  ExpectCost(costs.at("down"), 4 * 6 * 2, 0, 2 * 4 * 6);
}

TEST(StepCostTest, WhatHasNoRowsIsNotRead) {
  const auto stored = LayerCost({.kv_rows = 1});
  ASSERT_EQ(stored.size(), 1u);
  ExpectCost(stored.at("qkv"), 4 * (2 + 2) * 2, (2 + 2) * 4, 2 * 4 * 4);
  const auto mlp = LayerCost({.mlp_rows = 1});
  EXPECT_EQ(mlp.count("qkv") + mlp.count("attend") + mlp.count("project"), 0u);
  EXPECT_TRUE(LayerCost({}).empty());
}

// Slot 0 runs positions 3 and 4, slot 1 position 7; layer 1 is skipped but for one MLP row.
TEST(StepCostTest, AStepReadsASequenceOncePerLayer) {
  const int32_t tokens[] = {1, 2, 3}, positions[] = {3, 4, 7}, slots[] = {0, 0, 1};
  const RowList all{0, 3}, one{0, 1};
  const LayerRows layers[] = {{all, all, all}, {{}, {}, one}};
  const LogitsRow logits[] = {{.slot = 0}, {.slot = 1}};
  const StepInput step{
      .tokens = tokens, .positions = positions, .slots = slots, .layers = layers, .logits = logits};
  const LayerWork work = WorkOf(0, step);
  EXPECT_EQ(work.read_positions, 5 + 8);
  EXPECT_EQ(work.pairs, 4 + 5 + 8);

  const std::vector<StageCost> costs = CostOf(kShape, kBytes, step);
  std::vector<std::string> names;
  for (const StageCost& cost : costs) names.push_back(NameOf(cost.stage));
  EXPECT_THAT(names, ElementsAre("embed", "qkv", "attend", "project", "gate_up", "down", "gate_up",
                                 "down", "logits"));
  ExpectCost(costs.front(), 3 * 4 * 2, 0, 0);
  ExpectCost(costs.back(), 4 * 10 * 2, 0, 2 * 2 * 4 * 10);
}

// Slot 0 runs position 5 and, behind what no row of the layer runs, 98 and 99; slot 1 the position
// 7, which sees all in its set.
TEST(StepCostTest, AWindowedLayerReadsTheSinkAndTheWindowsOnce) {
  const int32_t tokens[] = {1, 2, 3, 4}, positions[] = {98, 99, 5, 7}, slots[] = {0, 0, 0, 1};
  const int32_t sets[] = {0, 0, 0, 1}, windows[] = {0, 16, 0, 0};
  const RowList all{0, 4}, logits_row{1, 1};
  const LayerRows layers[] = {{all, all, all}, {all, all, logits_row}};
  const StepInput step{.tokens = tokens,
                       .positions = positions,
                       .slots = slots,
                       .layers = layers,
                       .sets = sets,
                       .windows = windows,
                       .sink_tokens = 4};
  EXPECT_EQ(WorkOf(0, step), (LayerWork{.kv_rows = 4,
                                        .query_rows = 4,
                                        .mlp_rows = 4,
                                        .read_positions = 100 + 8,
                                        .pairs = 99 + 100 + 6 + 8}));
  // [0, 6) and [83, 100); all of slot 1.
  EXPECT_EQ(WorkOf(1, step), (LayerWork{.kv_rows = 4,
                                        .query_rows = 4,
                                        .mlp_rows = 1,
                                        .read_positions = 6 + 17 + 8,
                                        .pairs = 20 + 20 + 6 + 8}));
}

TEST(StepCostTest, FloorsAreOfMovingOrComputingAndAddUp) {
  const StageCost moves{.weight_bytes = 90, .kv_bytes = 10, .flops = 10};
  const StageCost computes{.weight_bytes = 10, .flops = 300};
  const Ceilings ceilings{.bytes_per_s = 10, .flops_per_s = 10};
  EXPECT_EQ(moves.Floor(ceilings), 10);
  EXPECT_EQ(computes.Floor(ceilings), 30);
  const StageCost both[] = {moves, computes};
  EXPECT_EQ(Floor(both, ceilings), 40);
  EXPECT_EQ(Total(both).bytes(), 110);
  EXPECT_EQ(Total(both).flops, 310);
}

}  // namespace
}  // namespace skipstone
