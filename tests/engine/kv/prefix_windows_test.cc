// The prefix cache and windowed layers: which pages a hit needs, and who shares them.
#include <numeric>
#include <vector>

#include "engine/kv/prefix_index.h"
#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

constexpr int kLayers = 4;
constexpr int kPageTokens = 8;  // the sink fills two blocks, a window of 16 reaches over three
constexpr int kBlocks = 20;

class PrefixWindowsTest : public testing::Test {
 protected:
  struct Holder {
    Holder(PagePool& pool, const char* spec)
        : skip(*ParseSkipSet(spec, kLayers)), pages(pool, skip, kPageTokens) {}
    int Held(int layer) const {
      int held = 0;
      for (int block = 0; block < pages.num_blocks(); ++block) {
        held += pages.page(block, layer) != kNoPage ? 1 : 0;
      }
      return held;
    }
    SkipSet skip;
    SequencePages pages;
    PrefixIndex::Cursor cursor;
  };

  PrefixWindowsTest() : tokens_(kBlocks * kPageTokens) {
    std::iota(tokens_.begin(), tokens_.end(), 0);
  }

  // As KvManager does: the first row that needs logits is `first_logits`.
  Holder Adopt(const char* spec, int blocks, int first_logits) {
    Holder holder(pool_, spec);
    holder.cursor = index_.Adopt({.tokens = tokens_,
                                  .max_blocks = blocks,
                                  .skip = holder.skip,
                                  .salt = "",
                                  .first_logits = first_logits},
                                 holder.pages);
    Slide(holder, holder.pages.num_blocks() * kPageTokens, first_logits);
    return holder;
  }

  // Runs and enters a prompt of whole blocks, `chunk` blocks at a time. `slide_first`: pages that
  // left their window are gone before they were entered.
  Holder Compute(const char* spec, int blocks, int chunk = 1, bool slide_first = false) {
    const int rows = blocks * kPageTokens;
    Holder holder = Adopt(spec, 0, rows);
    for (int done = 0; done < blocks;) {
      done = std::min(blocks, done + chunk);
      EXPECT_TRUE(holder.pages.Grow(done * kPageTokens));
      if (slide_first) holder.pages.Slide(done * kPageTokens, rows, done);
      while (holder.cursor.blocks() < done) {
        const auto own =
            std::span(tokens_).subspan(holder.cursor.blocks() * kPageTokens, kPageTokens);
        index_.Insert(holder.cursor, own, holder.pages);
      }
      Slide(holder, done * kPageTokens, rows);
    }
    return holder;
  }

  void Slide(Holder& holder, int row, int first_logits) {
    if (holder.pages.Slide(row, first_logits, holder.pages.num_blocks())) {
      holder.cursor.PagesReleased();
    }
  }

  std::vector<int32_t> tokens_;
  PagePool pool_{400};
  PrefixIndex index_{pool_, kPageTokens};
};

TEST_F(PrefixWindowsTest, TheCacheKeepsWhatLeftTheWindow) {
  const Holder holder = Compute("win:1/16", kBlocks);
  EXPECT_EQ(holder.Held(0), kBlocks);
  EXPECT_EQ(holder.Held(1), 2 + 2);
  EXPECT_EQ(pool_.used(), 3 * kBlocks + 4);
  EXPECT_EQ(pool_.cached(), kBlocks - 4);
}

TEST_F(PrefixWindowsTest, AHitTakesTheSinkAndTheWindowOnly) {
  { const Holder gone = Compute("win:1/16", kBlocks); }
  const Holder holder = Adopt("win:1/16", kBlocks, kBlocks * kPageTokens);
  EXPECT_EQ(holder.cursor.blocks(), kBlocks);
  EXPECT_EQ(holder.Held(0), kBlocks);
  EXPECT_EQ(holder.Held(1), 4);
}

// A chunk of four blocks at once: what left the window within it was never entered.
TEST_F(PrefixWindowsTest, AHitEndsWhereTheWindowsPagesAre) {
  { const Holder gone = Compute("win:1/16", kBlocks, 4, /*slide_first=*/true); }
  EXPECT_EQ(Adopt("win:1/16", 20, 160).cursor.blocks(), 20);
  EXPECT_EQ(Adopt("win:1/16", 19, 160).cursor.blocks(), 16) << "block 17 is not there";
  EXPECT_EQ(Adopt("win:1/16", 15, 160).cursor.blocks(), 12);
  EXPECT_EQ(Adopt("win:1/16", 7, 160).cursor.blocks(), 4);
  EXPECT_EQ(Adopt("win:1/16", 3, 160).cursor.blocks(), 3) << "the sink's blocks and the third";
  EXPECT_EQ(Adopt("win:1/24", 20, 160).cursor.blocks(), 0) << "layers above have another set below";
}

// Above the last full layer rows far before the logits leave nothing, and a hit needs nothing.
TEST_F(PrefixWindowsTest, ALongerPromptNeedsNoWindowsOfRowsThatItRunsItself) {
  { const Holder gone = Compute("win:last=2/16", 10); }
  // Rows of 88... need logits: layer 3 reads from 73 on, layer 2 for these from 57 on.
  EXPECT_EQ(Adopt("win:last=2/16", 10, 88).cursor.blocks(), 10);
  // Of a much longer prompt no window reaches back to the common part.
  const Holder longer = Adopt("win:last=2/16", 10, 800);
  EXPECT_EQ(longer.cursor.blocks(), 10);
  EXPECT_EQ(longer.Held(2), 2) << "the sink";
  EXPECT_EQ(longer.Held(3), 2);
  // Of a shorter one they reach to blocks that the first never stored: 8 to 6, 5 to 3 and so on.
  const Holder shorter = Adopt("win:last=2/16", 6, 50);
  EXPECT_LT(shorter.cursor.blocks(), 6);
}

TEST_F(PrefixWindowsTest, LayersUpToTheFirstWindowAreTheFullModels) {
  const Holder full = Compute("none", kBlocks);
  const Holder windowed = Compute("win:last=2/16", kBlocks);
  for (int block = 0; block < kBlocks; ++block) {
    EXPECT_EQ(windowed.pages.page(block, 0), full.pages.page(block, 0));
    EXPECT_EQ(windowed.pages.page(block, 1), full.pages.page(block, 1));
  }
  EXPECT_EQ(windowed.pages.page(0, 2), full.pages.page(0, 2)) << "K and V of the first windowed";
  EXPECT_NE(windowed.pages.page(0, 3), full.pages.page(0, 3)) << "its output is not the full one's";
}

TEST_F(PrefixWindowsTest, WindowsBelowSeparateTheLayersAbove) {
  const Holder wide = Compute("win:1-2/32", kBlocks);
  const Holder narrow = Compute("win:1-2/16", kBlocks);
  const int last = kBlocks - 1;
  EXPECT_EQ(narrow.pages.page(last, 1), wide.pages.page(last, 1));
  EXPECT_NE(narrow.pages.page(last, 2), wide.pages.page(last, 2));
  EXPECT_NE(narrow.pages.page(last, 3), wide.pages.page(last, 3));
  const Holder same = Adopt("win:1-2/16", kBlocks, kBlocks * kPageTokens);
  EXPECT_EQ(same.pages.page(last, 3), narrow.pages.page(last, 3));
}

TEST_F(PrefixWindowsTest, PagesThatLeftAWindowAreEvictedWhileTheirSequenceRuns) {
  const Holder holder = Compute("win:1/16", kBlocks);
  EXPECT_EQ(pool_.cached(), kBlocks - 4);
  while (pool_.cached() > 0) ASSERT_TRUE(index_.Evict());
  EXPECT_EQ(index_.full_walks(), 0) << "found without looking at every node";
  EXPECT_EQ(holder.pages.num_pages(), 3 * kBlocks + 4);
}

}  // namespace
}  // namespace skipstone
