#include "engine/cuda/step/decode_split.h"

#include <gtest/gtest.h>

#include <random>

namespace skipstone::cuda {
namespace {

std::vector<DecodeItem> Plan(const DecodeSplit& split, const std::vector<DecodeSplit::Row>& rows) {
  std::vector<DecodeItem> items;
  split.Plan(rows, items);
  return items;
}

TEST(DecodeSplitTest, ShortRowsStayWhole) {
  const auto items = Plan(DecodeSplit(100), {{3, 1}, {7, 128}});
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[1].row, 7);
  EXPECT_EQ(items[1].first, 0);
  EXPECT_EQ(items[1].end, 128);
  EXPECT_EQ(items[1].num_splits, 1);
}

TEST(DecodeSplitTest, OneLongRowFillsTheDevice) {
  const auto items = Plan(DecodeSplit(16), {{0, 4096}});
  EXPECT_EQ(items.size(), 16u);
  for (const DecodeItem& item : items) EXPECT_EQ(item.end - item.first, 256);
}

// However long the sequence, a windowed row is what it sees, and a full one beside it is split by
// what all of them see.
TEST(DecodeSplitTest, SharesOutWhatRowsSee) {
  std::vector<DecodeSplit::Row> rows(32, {.tokens = 80, .gap = {16, 4016}});
  rows[5] = {5, 4096};
  const auto items = Plan(DecodeSplit(16), rows);
  int full = 0;
  for (const DecodeItem& item : items) {
    if (item.row == 5) {
      ++full;
      EXPECT_LE(item.end - item.first, 448);  // 6,576 in 16 parts of whole rounds
      EXPECT_EQ(item.gap.size, 0);
    } else {
      EXPECT_EQ(item.end - item.first, 80);
      EXPECT_EQ(item.num_splits, 1);
      EXPECT_EQ(item.gap.PositionOf(15), 15);
      EXPECT_EQ(item.gap.PositionOf(79), 4095);
    }
  }
  EXPECT_EQ(full, 10);
  EXPECT_EQ(items.size(), 31u + 10);
}

// Every position once, the bounds that buffers are sized by, and places for partial results that
// no two rows share.
TEST(DecodeSplitTest, CoversEveryPositionWithinItsBounds) {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    const DecodeSplit split(1 + random() % 60);
    std::vector<DecodeSplit::Row> rows(1 + random() % 40);
    for (auto& row : rows) {
      row = {static_cast<int32_t>(&row - rows.data()),
             1 + static_cast<int32_t>(random() % (round % 2 == 0 ? 9000 : 200))};
    }
    const auto items = Plan(split, rows);
    ASSERT_LE(static_cast<int>(items.size()), split.MaxItems(static_cast<int>(rows.size())));
    size_t at = 0;
    int next_partial = 0;
    for (const auto& row : rows) {
      int position = 0;
      const int splits = items[at].num_splits;
      for (int s = 0; s < splits; ++s, ++at) {
        ASSERT_EQ(items[at].row, row.row);
        ASSERT_EQ(items[at].split, s);
        ASSERT_EQ(items[at].num_splits, splits);
        ASSERT_EQ(items[at].first, position);
        ASSERT_GT(items[at].end, position);
        if (splits > 1) {
          ASSERT_EQ(items[at].partial, next_partial);
        }
        position = items[at].end;
      }
      ASSERT_EQ(position, row.tokens);
      if (splits > 1) next_partial += splits;
    }
    ASSERT_EQ(at, items.size());
    ASSERT_LE(next_partial, split.max_partials());
  }
}

}  // namespace
}  // namespace skipstone::cuda
