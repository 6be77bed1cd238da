// How a step's attention work reaches the device: items layer by layer, tiles with their windows.
#include "engine/cuda/step/step_writer.h"

#include <gtest/gtest.h>

#include <span>
#include <vector>

namespace skipstone::cuda {
namespace {

constexpr int kLayers = 3;
constexpr int kTargetItems = 16;
constexpr int kRows = 64;
constexpr int kSlots = 1024;

class StepWriterTest : public testing::Test {
 protected:
  StepWriterTest()
      : writer_({.num_layers = kLayers, .vocab = 8},
                {.max_rows = kRows, .max_logits_rows = kRows, .max_slots = kSlots},
                DecodeSplit(kTargetItems)),
        words_(writer_.max_bytes() / sizeof(int32_t)),
        lists_(kLayers) {}

  // A run of one slot.
  void AddRun(int32_t first, int32_t count, const std::vector<int32_t>& row_sets) {
    runs_.push_back({static_cast<int32_t>(positions_.size()), count});
    for (int32_t i = 0; i < count; ++i) positions_.push_back(first + i);
    sets_.insert(sets_.end(), row_sets.begin(), row_sets.end());
    const RowList all{.count = static_cast<int32_t>(positions_.size())};
    lists_.assign(kLayers, {all, all, all});
  }

  int64_t Write() {
    return writer_.Write({.tokens = positions_,
                          .positions = positions_,
                          .slots = positions_,
                          .layers = lists_,
                          .logits = logits_,
                          .runs = runs_,
                          .sets = sets_,
                          .windows = windows_,
                          .sink_tokens = 16,
                          .page_updates = updates_},
                         words_.data());
  }

  const StepHeader& header() const { return *reinterpret_cast<const StepHeader*>(words_.data()); }
  std::span<const DecodeItem> ItemsOf(int layer) const {
    const DecodePlan& plan = header().PlanOf(layer);
    return {header().At<DecodeItem>(plan.items), static_cast<size_t>(plan.count)};
  }
  std::span<const PrefillTile> tiles() const {
    return {header().At<PrefillTile>(header().prefill_tiles),
            static_cast<size_t>(header().num_prefill_tiles)};
  }

  StepWriter writer_;
  std::vector<int32_t> words_;
  std::vector<int32_t> positions_, sets_, windows_;
  std::vector<RowRun> runs_;
  std::vector<LayerRows> lists_;
  std::vector<LogitsRow> logits_;
  std::vector<PageUpdate> updates_;
};

TEST_F(StepWriterTest, SplitsInEachLayerWhatItsRowsSee) {
  windows_ = {0, 64, 64, 0, 0, 64};
  AddRun(4095, 1, {0});
  AddRun(4095, 1, {1});
  Write();
  EXPECT_EQ(ItemsOf(0).size(), 16u);
  EXPECT_EQ(ItemsOf(0)[0].end, 512);
  ASSERT_EQ(ItemsOf(1).size(), 1u + 13);
  EXPECT_EQ(ItemsOf(1)[0].end, 80);
  EXPECT_EQ(ItemsOf(1)[0].gap.size, 4016);
  EXPECT_EQ(ItemsOf(1)[1].end, 320);  // 4,176 in 16 parts of whole rounds
  ASSERT_EQ(ItemsOf(2).size(), 2u);
  EXPECT_EQ(ItemsOf(2)[1].end, 80);
}

TEST_F(StepWriterTest, LayersThatAttendAlikeShareAPlan) {
  windows_ = {0, 64, 64};
  AddRun(4095, 1, {0});
  Write();
  EXPECT_NE(header().PlanOf(0).items, header().PlanOf(1).items);
  EXPECT_EQ(header().PlanOf(1).items, header().PlanOf(2).items);
}

TEST_F(StepWriterTest, RowsThatDoNotAttendHaveNoItems) {
  AddRun(4095, 1, {});
  AddRun(1023, 1, {});
  lists_[1].query_rows = {.begin = 1, .count = 1};
  lists_[2].query_rows = {};
  Write();
  EXPECT_EQ(ItemsOf(0).back().row, 1);
  ASSERT_EQ(ItemsOf(1).size(), 8u);  // of 128: nothing is kept free for the other row
  EXPECT_EQ(ItemsOf(1)[0].row, 1);
  EXPECT_TRUE(ItemsOf(2).empty());
}

TEST_F(StepWriterTest, TilesAreOfOneSetOfWindows) {
  windows_ = {0, 0, 64, 0, 24, 64};
  AddRun(100, 10, {0, 0, 0, 0, 1, 1, 1, 1, 1, 1});
  Write();
  ASSERT_EQ(tiles().size(), 2u);
  EXPECT_EQ(tiles()[0].count, 4);
  EXPECT_EQ(tiles()[1].row, 4);
  EXPECT_EQ(tiles()[1].count, 6);
  EXPECT_EQ(header().WindowOf(tiles()[0].set, 1, kLayers), 0);
  EXPECT_EQ(header().WindowOf(tiles()[1].set, 1, kLayers), 24);
  EXPECT_EQ(header().WindowOf(tiles()[1].set, 2, kLayers), 64);
  EXPECT_EQ(header().sink_tokens, 16);
}

TEST_F(StepWriterTest, WithoutWindowsNoneTravel) {
  AddRun(100, 2, {});
  const int64_t bytes = Write();
  EXPECT_EQ(header().WindowOf(tiles()[0].set, 1, kLayers), 0);
  sets_ = {0, 0};
  windows_ = {0, 64, 64};
  EXPECT_EQ(Write(), bytes + static_cast<int64_t>(kLayers * sizeof(int32_t)));
}

TEST_F(StepWriterTest, MapListsTravelWhereThereAreAny) {
  for (int i = 0; i < 6; ++i) AddRun(100, 1, {});
  const int64_t bytes = Write();
  EXPECT_EQ(header().maps, 0);
  const std::vector<int32_t> index = {0, 2, 5};
  const RowList of_mlp[] = {{}, {.count = 3, .index = index.data()}, {.begin = 3, .count = 2}};
  lists_[1].mlp_maps = of_mlp;
  // A table of counts, two lists, three rows.
  EXPECT_EQ(Write(), bytes + 4 * (2 * 2 * kLayers + 2 * 4 + 3));
  EXPECT_EQ(header().MapListsOf(ListKind::kAttentionMap, 1).count, 0);
  EXPECT_EQ(header().MapListsOf(ListKind::kMlpMap, 0).count, 0);
  ASSERT_EQ(header().MapListsOf(ListKind::kMlpMap, 1).count, 2);
  const auto rows_of = [&](int map, int limit) {
    return RowSource{ListKind::kMlpMap, 1, map, limit}.Of(&header());
  };
  EXPECT_EQ(rows_of(0, 16).count, 0);
  ASSERT_EQ(rows_of(1, 16).count, 3);
  EXPECT_EQ(rows_of(1, 16)[2], 5);
  EXPECT_EQ(rows_of(1, 2).count, 0);
  EXPECT_EQ(rows_of(2, 16)[1], 4);
}

TEST_F(StepWriterTest, ComparedRowsTravelWhereThereAreAny) {
  for (int i = 0; i < 3; ++i) AddRun(100, 1, {});
  logits_.resize(3);
  const int64_t bytes = Write();
  EXPECT_TRUE(writer_.compared_blocks().empty());
  logits_[0].reference = 2;
  logits_[1].reference = 1;
  EXPECT_EQ(Write(), bytes + 4 * 2 * 4);
  ASSERT_EQ(writer_.compared_blocks().size(), 1u);
  ASSERT_EQ(writer_.compared_blocks()[0], 4);
  const int32_t* rows = header().At<int32_t>(header().compared_rows);
  const int32_t* references = header().At<int32_t>(header().references);
  EXPECT_EQ(std::vector<int32_t>(rows, rows + 4), (std::vector<int32_t>{1, 1, 2, 0}));
  EXPECT_EQ(std::vector<int32_t>(references, references + 4),
            (std::vector<int32_t>{kNotReduced, 0, -1, 2}));
}

// What the device's memory is sized by: a set of windows for each slot, no two layers alike, page
// updates as many as there may be.
TEST_F(StepWriterTest, TheLargestStepFits) {
  for (int row = 0; row < kRows - 2; ++row) AddRun(4000, 1, {row});
  AddRun(4000, 2, {kSlots - 1, kSlots - 1});
  for (int slot = 0; slot < kSlots; ++slot) {
    windows_.insert(windows_.end(), {0, 2048, 1024 + slot});
  }
  updates_.resize(writer_.max_deltas());
  // A map for each row, by index, in each sublayer; rows that are all compared with themselves.
  std::vector<int32_t> index(kRows);
  std::vector<RowList> maps;
  for (int row = 0; row < kRows; ++row) {
    index[row] = row;
    maps.push_back({.count = 1, .index = &index[row]});
    logits_.push_back({.reference = row});
  }
  for (LayerRows& layer : lists_) layer.attention_maps = layer.mlp_maps = maps;
  EXPECT_LE(Write(), writer_.max_bytes());
  EXPECT_EQ(header().WindowOf(tiles()[0].set, 2, kLayers), 1024 + kSlots - 1);
}

}  // namespace
}  // namespace skipstone::cuda
