#include "engine/backend/logits_blocks.h"

#include <algorithm>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

std::vector<LogitsRow> RowsWith(const std::vector<int>& references) {
  std::vector<LogitsRow> rows;
  for (const int reference : references) rows.push_back({.reference = reference});
  return rows;
}

// Every row is reduced once, and what it is compared with lies in its block.
void ExpectComplete(const std::vector<int>& references, int size) {
  const std::vector<LogitsRow> rows = RowsWith(references);
  std::vector<int> reduced(rows.size());
  for (const LogitsBlock& block : BlocksOf(rows, size)) {
    ASSERT_GE(std::ssize(block), 1);
    ASSERT_LE(std::ssize(block), size);
    for (const LogitsEntry& entry : block) {
      if (!entry.reduced) continue;
      ++reduced[entry.row];
      const int reference = rows[entry.row].reference;
      if (reference < 0) {
        EXPECT_EQ(entry.reference, -1);
      } else {
        ASSERT_LT(entry.reference, std::ssize(block));
        ASSERT_GE(entry.reference, 0);
        EXPECT_EQ(block[entry.reference].row, reference);
      }
    }
  }
  EXPECT_EQ(reduced, std::vector<int>(rows.size(), 1));
}

// How many rows of logits all blocks compute.
int Computed(const std::vector<int>& references, int size) {
  int computed = 0;
  for (const LogitsBlock& block : BlocksOf(RowsWith(references), size)) {
    computed += static_cast<int>(block.size());
  }
  return computed;
}

TEST(LogitsBlocksTest, WithoutReferencesBlocksAreRanges) {
  const std::vector<LogitsBlock> blocks = BlocksOf(RowsWith(std::vector<int>(150, -1)), 64);
  ASSERT_EQ(blocks.size(), 3u);
  int row = 0;
  for (const LogitsBlock& block : blocks) {
    for (const LogitsEntry& entry : block) EXPECT_EQ(entry.row, row++);
  }
  EXPECT_EQ(row, 150);
  EXPECT_TRUE(BlocksOf({}, 64).empty());
}

TEST(LogitsBlocksTest, AReferenceIsComputedOnceForEachBlockThatNeedsIt) {
  std::vector<int> all_of_one(200, 7);
  all_of_one[7] = -1;
  ExpectComplete(all_of_one, 64);
  EXPECT_EQ(Computed(all_of_one, 64), 200 + 3) << "four blocks, of which the first has the row";
  std::vector<int> pairs(100, -1);
  for (int i = 50; i < 100; ++i) pairs[i] = i - 50;
  ExpectComplete(pairs, 64);
  EXPECT_LE(Computed(pairs, 64), 101);
}

TEST(LogitsBlocksTest, ServesAnyReferencesInTheSmallestBlocks) {
  std::mt19937 random(1);
  for (int round = 0; round < 500; ++round) {
    std::vector<int> references(1 + random() % 40);
    for (int& reference : references) {
      reference = random() % 3 == 0 ? -1 : static_cast<int>(random() % references.size());
    }
    for (const int size : {2, 3, 5, 64}) ExpectComplete(references, size);
  }
}

}  // namespace
}  // namespace skipstone
