#include "tools/sim/plan_work.h"

#include <random>
#include <string>
#include <vector>

#include "engine/schedule/row_lists.h"
#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"
#include "tests/tools/sim/sim_fixture.h"

namespace skipstone {
namespace {

constexpr int kLayers = 12;
const ElementBytes kBytes{.weights = 2, .kv = 2};

std::vector<SkipSet> Sets(const std::string& text) { return *ParseSkipList(text, kLayers); }

// A plan of one chunk per sequence, at random positions, some with rows that need logits.
StepPlan RandomPlan(const std::vector<SkipSet>& sets, std::mt19937& random) {
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution(low, high)(random);
  };
  StepPlan plan;
  const int chunks = draw(1, 20);
  for (int i = 0; i < chunks; ++i) {
    const int rows = draw(0, 1) ? 1 : draw(1, draw(0, 3) ? 40 : 600);
    SequenceChunk chunk{.sequence = static_cast<SequenceId>(i),
                        .slot = i,
                        .set = plan.SetOf(sets[draw(0, static_cast<int>(sets.size()) - 1)]),
                        .first_position = draw(0, 2) ? draw(0, 500) : draw(0, 20),
                        .num_rows = rows,
                        .first_token = static_cast<int32_t>(plan.tokens.size()),
                        .logits_rows = draw(0, 2) ? draw(0, 1) : draw(0, rows)};
    if (chunk.logits_rows == 0) chunk.silent_after = draw(0, 1) ? draw(0, 200) : 0;
    chunk.samples = chunk.logits_rows > 0;
    plan.tokens.insert(plan.tokens.end(), rows, 1);
    plan.num_rows += rows;
    plan.chunks.push_back(chunk);
  }
  return plan;
}

void ExpectEqual(const StageCost& counted, const StageCost& listed) {
  EXPECT_EQ(counted.stage, listed.stage);
  EXPECT_EQ(counted.weight_bytes, listed.weight_bytes);
  EXPECT_EQ(counted.kv_bytes, listed.kv_bytes);
  EXPECT_EQ(counted.flops, listed.flops);
}

void ExpectCountsEqualRowLists(const std::string& sets_text, int page_tokens = 16) {
  SCOPED_TRACE(sets_text);
  const ModelShape shape =
      ShapeOf("synthetic:layers=12,hidden=64,heads=8,kv_heads=4,ffn=96,vocab=128");
  const std::vector<SkipSet> sets = Sets(sets_text);
  RowLists lists(kLayers, page_tokens, /*liveness=*/true);
  PlanWork work(kLayers, page_tokens);
  std::mt19937 random(7);
  for (int round = 0; round < 100; ++round) {
    const StepPlan plan = RandomPlan(sets, random);
    lists.Build(plan);
    work.Count(plan);
    for (int layer = 0; layer < kLayers; ++layer) {
      ASSERT_EQ(work.Layer(layer), WorkOf(layer, lists.input())) << "layer " << layer;
    }
    std::vector<StageCost> counted;
    AddEmbedCost(shape, kBytes, work.rows(), &counted);
    for (int layer = 0; layer < kLayers; ++layer) {
      AddLayerCost(shape, kBytes, work.Layer(layer), &counted);
    }
    AddLogitsCost(shape, kBytes, work.logits_rows(), &counted);
    const std::vector<StageCost> listed = CostOf(shape, kBytes, lists.input());
    ASSERT_EQ(counted.size(), listed.size());
    for (size_t i = 0; i < listed.size(); ++i) ExpectEqual(counted[i], listed[i]);
  }
}

TEST(PlanWorkTest, CountsWhatRowListsHold) {
  ExpectCountsEqualRowLists("none");
  ExpectCountsEqualRowLists("none;attn:last=33%;attn:last=50%");
  ExpectCountsEqualRowLists("attn:last=3;attn:last=3,keep-final;none");
  ExpectCountsEqualRowLists("attn:2-4+mlp:3,7;block:last=2;mlp:11;attn:11+mlp:0-11");
  ExpectCountsEqualRowLists("attn:0-11;none;attn:0-10");
}

// Windows on top, below full layers, between skipped ones, of different widths; pages wider than
// the sink and narrower.
TEST(PlanWorkTest, CountsWhatWindowsSee) {
  for (const int page_tokens : {4, 16, 64}) {
    SCOPED_TRACE(page_tokens);
    ExpectCountsEqualRowLists("win:last=50%/64", page_tokens);
    ExpectCountsEqualRowLists("win:0-11/16;none;win:last=4/128;attn:last=4", page_tokens);
    ExpectCountsEqualRowLists("win:2-5/32;win:10/16+attn:11;win:3/64,8-9/24+mlp:4", page_tokens);
    ExpectCountsEqualRowLists("win:last=3/1024;win:last=3/16;attn:0-8+win:9-11/48", page_tokens);
  }
}

TEST(PlanWorkTest, LayersOfAGroupHaveEqualWork) {
  const std::vector<SkipSet> sets = Sets("none;attn:last=4;attn:2+mlp:5");
  std::mt19937 random(3);
  PlanWork work(kLayers, /*page_tokens=*/16);
  for (int round = 0; round < 50; ++round) {
    work.Count(RandomPlan(sets, random));
    int layers = 0;
    for (const PlanWork::LayerGroup& group : work.groups()) layers += group.count;
    EXPECT_EQ(layers, kLayers);
  }
  // Layer 2 skips in one set, 5 has no MLP in one, 7 is the k of one, 8-10 skip in it, 11 is the k
  // of the others; all others are alike.
  std::vector<std::pair<int, int>> groups;
  for (const PlanWork::LayerGroup& group : work.groups()) {
    groups.emplace_back(group.layer, group.count);
  }
  EXPECT_EQ(groups,
            (std::vector<std::pair<int, int>>{{0, 5}, {2, 1}, {5, 1}, {7, 1}, {8, 3}, {11, 1}}));
}

// Above the last full layer each window's rows differ; below it only the window does.
TEST(PlanWorkTest, WindowsPartGroups) {
  const std::vector<SkipSet> sets = Sets("win:1-2/32,10-11/32");
  std::mt19937 random(3);
  PlanWork work(kLayers, /*page_tokens=*/16);
  work.Count(RandomPlan(sets, random));
  std::vector<std::pair<int, int>> groups;
  for (const PlanWork::LayerGroup& group : work.groups()) {
    groups.emplace_back(group.layer, group.count);
  }
  EXPECT_EQ(groups, (std::vector<std::pair<int, int>>{{0, 7}, {1, 2}, {9, 1}, {10, 1}, {11, 1}}));
}

}  // namespace
}  // namespace skipstone
