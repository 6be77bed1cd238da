#include "engine/schedule/row_lists.h"

#include <algorithm>
#include <iterator>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/mapped_set.h"
#include "tests/support/row_keys.h"

namespace skipstone {
namespace {

constexpr int kPageTokens = 16;
constexpr int kLayers = 6;

struct ChunkSpec {
  std::string skip;
  int rows;
  int logits_rows;
  bool samples = true;
};

struct PlanFixture {
  explicit PlanFixture(const std::vector<ChunkSpec>& specs) {
    int next_token = 100;
    for (const ChunkSpec& spec : specs) {
      const size_t number = plan.chunks.size() + 1;
      SequenceChunk chunk{.sequence = number,
                          .slot = static_cast<int32_t>(number),
                          .set = plan.SetOf(MappedSet(spec.skip, kLayers)),
                          .first_position = 7,
                          .num_rows = spec.rows,
                          .first_token = static_cast<int32_t>(plan.tokens.size()),
                          .logits_rows = spec.logits_rows,
                          .samples = spec.samples,
                          .sample_top_n = 1,
                          .prompt_top_n = 2};
      chunk.last_row_has_target = !spec.samples && spec.logits_rows > 0;
      const int tokens = spec.rows + (chunk.last_row_has_target ? 1 : 0);
      for (int i = 0; i < tokens; ++i) plan.tokens.push_back(next_token++);
      plan.num_rows += spec.rows;
      plan.chunks.push_back(chunk);
    }
  }
  StepPlan plan;
};

std::set<int> Rows(const RowList& list) {
  std::set<int> rows;
  for (int i = 0; i < list.count; ++i) rows.insert(list[i]);
  EXPECT_EQ(rows.size(), static_cast<size_t>(list.count));
  return rows;
}

// SEMANTICS 3, row by row, as plainly as it is written there.
void ExpectSemantics(const PlanFixture& fixture, const RowLists& lists, bool liveness) {
  const StepInput input = lists.input();
  ASSERT_EQ(input.layers.size(), static_cast<size_t>(kLayers));
  for (int layer = 0; layer < kLayers; ++layer) {
    std::set<RowKey> kv, query, mlp;
    MapKeys attention_maps, mlp_maps;
    for (const SequenceChunk& chunk : fixture.plan.chunks) {
      const SkipSet& skip = fixture.plan.SkipOf(chunk);
      int k = -1;
      for (int l = 0; l < kLayers; ++l) k = skip.KeepsAttention(l) ? l : k;
      for (int i = 0; i < chunk.num_rows; ++i) {
        const RowKey key{chunk.slot, chunk.first_position + i};
        const bool logits = i >= chunk.num_rows - chunk.logits_rows || !liveness;
        if (skip.KeepsAttention(layer)) kv.insert(key);
        if (skip.KeepsAttention(layer) && (logits || layer < k)) query.insert(key);
        if (skip.KeepsMlp(layer) && (logits || layer < k)) mlp.insert(key);
        if (!logits && layer >= k) continue;
        if (const uint64_t map = skip.AttentionMap(layer)) attention_maps[map].insert(key);
        if (const uint64_t map = skip.MlpMap(layer)) mlp_maps[map].insert(key);
      }
    }
    EXPECT_EQ(KeysOf(input, input.layers[layer].kv_rows), kv) << "layer " << layer;
    EXPECT_EQ(KeysOf(input, input.layers[layer].query_rows), query) << "layer " << layer;
    EXPECT_EQ(KeysOf(input, input.layers[layer].mlp_rows), mlp) << "layer " << layer;
    const LayerMaps maps = MapsOf({1, 2}, kLayers)[layer];
    EXPECT_EQ(KeysOfMaps(input, input.layers[layer].attention_maps, maps.attention), attention_maps)
        << "layer " << layer;
    EXPECT_EQ(KeysOfMaps(input, input.layers[layer].mlp_maps, maps.mlp), mlp_maps)
        << "layer " << layer;
    EXPECT_EQ(input.layers[layer].attention_maps.empty(), attention_maps.empty());
    EXPECT_EQ(input.layers[layer].mlp_maps.empty(), mlp_maps.empty());
  }
}

TEST(RowListsTest, OrdersLogitsRowsByAscendingAndOthersByDescendingK) {
  PlanFixture f({{"none", 3, 1}, {"attn:last=4", 3, 1}, {"attn:last=2", 3, 1}});
  RowLists lists(kLayers, kPageTokens, true);
  lists.Build(f.plan);
  const StepInput input = lists.input();
  EXPECT_EQ(std::vector<int>(input.slots.begin(), input.slots.end()),
            (std::vector<int>{2, 3, 1, 1, 1, 3, 3, 2, 2}));
  EXPECT_EQ(input.logits.size(), 3u);
}

TEST(RowListsTest, MakesRangesOfEveryMixOfLastAttentionSets) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<ChunkSpec> specs;
    for (int i = 0; i < 8; ++i) {
      const int rows = 1 + random() % 5;
      specs.push_back({"attn:last=" + std::to_string(random() % (kLayers + 1)), rows,
                       static_cast<int>(random() % (rows + 1))});
      specs.back().samples = specs.back().logits_rows > 0;
    }
    PlanFixture f(specs);
    RowLists lists(kLayers, kPageTokens, true);
    lists.Build(f.plan);
    for (const LayerRows& rows : lists.input().layers) {
      EXPECT_EQ(rows.kv_rows.index, nullptr);
      EXPECT_EQ(rows.query_rows.index, nullptr);
      EXPECT_EQ(rows.mlp_rows.index, nullptr);
    }
    ExpectSemantics(f, lists, true);
  }
}

TEST(RowListsTest, FollowsTheSemanticsForAnySets) {
  const char* const kSpecs[] = {
      "none",         "attn:last=50%",    "attn:2",          "mlp:last=2",
      "attn:0-5",     "block:last=2",     "attn:1,3+mlp:0",  "attn:last=2,keep-final",
      "attn:5+mlp:5", "mlp:0-5",          "attn:last=50%@1", "attn:last=2@2",
      "attn:0-5@1",   "attn:1,3+mlp:0@2", "block:last=2@1",  "mlp:last=2@1"};
  std::mt19937 random(2);
  for (const bool liveness : {true, false}) {
    RowLists lists(kLayers, kPageTokens, liveness, MapsOf({1, 2}, kLayers));
    for (int round = 0; round < 200; ++round) {
      std::vector<ChunkSpec> specs;
      for (int i = 0; i < 6; ++i) {
        const int rows = 1 + random() % 6;
        specs.push_back(
            {kSpecs[random() % std::size(kSpecs)], rows, static_cast<int>(random() % (rows + 1))});
        specs.back().samples = specs.back().logits_rows > 0 && random() % 2 == 0;
      }
      PlanFixture f(specs);
      lists.Build(f.plan);
      ExpectSemantics(f, lists, liveness);
    }
  }
}

TEST(RowListsTest, RowsOfAMapAreARangeWhereTheirSetIsOne) {
  PlanFixture f({{"attn:last=2@1", 4, 2}, {"none", 2, 1}, {"attn:last=3@2", 3, 1}});
  RowLists lists(kLayers, kPageTokens, true, MapsOf({1, 2}, kLayers));
  lists.Build(f.plan);
  const StepInput input = lists.input();
  for (const int layer : {4, 5}) {
    const std::span<const RowList> maps = input.layers[layer].attention_maps;
    ASSERT_EQ(maps.size(), 2u);
    EXPECT_EQ(Rows(maps[0]), (std::set<int>{1, 2})) << "k = 3";
    EXPECT_EQ(Rows(maps[1]), std::set<int>{0}) << "k = 2";
    EXPECT_EQ(maps[0].index, nullptr);
  }
  EXPECT_TRUE(input.layers[3].attention_maps[0].empty());
  EXPECT_EQ(Rows(input.layers[3].attention_maps[1]), std::set<int>{0}) << "silent rows stopped";
  EXPECT_TRUE(input.layers[2].attention_maps.empty());
  EXPECT_TRUE(input.layers[5].mlp_maps.empty());
}

// Rows with and without logits of one set, and others between them.
TEST(RowListsTest, RowsOfAMapMayBeAnIndexList) {
  PlanFixture f({{"attn:0@1", 3, 1}, {"none", 3, 1}});
  RowLists lists(kLayers, kPageTokens, true, MapsOf({1, 2}, kLayers));
  lists.Build(f.plan);
  const RowList& rows = lists.input().layers[0].attention_maps[0];
  EXPECT_EQ(rows.count, 3);
  EXPECT_NE(rows.index, nullptr);
  ExpectSemantics(f, lists, true);
}

TEST(RowListsDeathTest, DiesOnAMapThatTheModelDoesNotHold) {
  const PlanFixture f({{"attn:last=2@1", 1, 1}, {"none", 1, 1}});
  RowLists without(kLayers, kPageTokens, true);
  EXPECT_DEATH(without.Build(f.plan), "check failed");
  RowLists others(kLayers, kPageTokens, true, MapsOf({2}, kLayers));
  EXPECT_DEATH(others.Build(f.plan), "check failed");
}

// A backend may then compute queries and keys in one product.
TEST(RowListsTest, KeysAndQueriesOfTheSameRowsAreOneList) {
  const PlanFixture decode({{"attn:last=1", 1, 1}, {"attn:0", 1, 1}, {"none", 1, 1}});
  RowLists rows(kLayers, kPageTokens, /*liveness=*/true);
  rows.Build(decode.plan);
  const LayerRows& first = rows.input().layers[0];
  ASSERT_NE(first.kv_rows.index, nullptr);
  EXPECT_EQ(first.query_rows.index, first.kv_rows.index);
  EXPECT_EQ(first.query_rows.count, 2);
}

TEST(RowListsTest, LeavesOutRowsThatOnlyAnAttentionCouldSee) {
  PlanFixture f({{"attn:0-5", 9, 1}});
  RowLists lists(kLayers, kPageTokens, true);
  lists.Build(f.plan);
  EXPECT_EQ(lists.input().tokens.size(), 1u);
  EXPECT_EQ(lists.rows_eliminated(), 8 * kLayers);
}

TEST(RowListsTest, CountsEliminatedSublayers) {
  // k = 3: layers 3, 4, 5 keep an MLP that the two silent rows do not run.
  PlanFixture f({{"attn:last=2", 3, 1}});
  RowLists lists(kLayers, kPageTokens, true);
  lists.Build(f.plan);
  EXPECT_EQ(lists.rows_eliminated(), 2 * 3);
  RowLists all(kLayers, kPageTokens, false);
  all.Build(f.plan);
  EXPECT_EQ(all.rows_eliminated(), 0);
}

TEST(RowListsTest, NamesTargetsAndThePlansOrder) {
  PlanFixture f({{"none", 4, 3}, {"attn:last=3", 3, 2, false}});
  RowLists lists(kLayers, kPageTokens, true);
  lists.Build(f.plan);
  const StepInput input = lists.input();
  // Row order: the second chunk (smaller k) first.
  EXPECT_EQ(std::vector<int>(lists.plan_order().begin(), lists.plan_order().end()),
            (std::vector<int>{3, 4, 0, 1, 2}));
  ASSERT_EQ(input.logits.size(), 5u);
  EXPECT_EQ(input.logits[0].target, 106);  // tokens 104, 105, 106 and the one behind them
  EXPECT_EQ(input.logits[1].target, 107);
  EXPECT_EQ(input.logits[2].target, 102);
  EXPECT_EQ(input.logits[2].top_n, 2);
  EXPECT_FALSE(input.logits[3].sample);
  EXPECT_TRUE(input.logits[4].sample);
  EXPECT_EQ(input.logits[4].target, -1);
  EXPECT_EQ(input.logits[4].top_n, 1);
  EXPECT_EQ(input.logits[4].position, 10);
}

TEST(RowListsTest, RunsCoverAllRowsOnce) {
  PlanFixture f({{"none", 4, 1}, {"mlp:0", 2, 2}, {"attn:last=1", 5, 0, false}});
  RowLists lists(kLayers, kPageTokens, true);
  lists.Build(f.plan);
  const StepInput input = lists.input();
  int next = 0;
  for (const RowRun& run : input.runs) {
    EXPECT_EQ(run.begin, next);
    for (int i = 1; i < run.count; ++i) {
      EXPECT_EQ(input.slots[run.begin + i], input.slots[run.begin]);
      EXPECT_EQ(input.positions[run.begin + i], input.positions[run.begin] + i);
    }
    next += run.count;
  }
  EXPECT_EQ(next, static_cast<int>(input.tokens.size()));
  EXPECT_EQ(Rows({0, next, nullptr}).size(), 11u);
}

TEST(RowListsTest, ReferencesAreRowsOfTheStep) {
  // The reference's rows come last in row order, since they keep all attention.
  PlanFixture fixture({{"attn:2", 3, 1}, {"none", 5, 3, false}, {"attn:last=50%", 5, 3, false}});
  fixture.plan.chunks[2].reference = 1;
  RowLists lists(kLayers, kPageTokens, true);
  lists.Build(fixture.plan);
  const StepInput input = lists.input();
  int compared = 0;
  for (size_t row = 0; row < input.logits.size(); ++row) {
    const LogitsRow& logits = input.logits[row];
    if (logits.slot != 3) {
      EXPECT_EQ(logits.reference, -1);
      continue;
    }
    ++compared;
    ASSERT_GE(logits.reference, 0);
    EXPECT_EQ(input.logits[logits.reference].slot, 2);
    EXPECT_EQ(input.logits[logits.reference].position, logits.position);
  }
  EXPECT_EQ(compared, 3);
}

}  // namespace
}  // namespace skipstone
