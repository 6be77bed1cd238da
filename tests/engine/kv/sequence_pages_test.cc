#include "engine/kv/sequence_pages.h"

#include <random>
#include <set>
#include <utility>
#include <vector>

#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

SkipSet Skip(const char* spec, int layers = 8) { return *ParseSkipSet(spec, layers); }

TEST(SequencePagesTest, HasNoListForASkippedLayer) {
  PagePool pool(100);
  SequencePages pages(pool, Skip("attn:2,last=3"), 16);
  EXPECT_EQ(pages.layers(), (std::vector<int16_t>{0, 1, 3, 4}));
  ASSERT_TRUE(pages.Grow(17));
  EXPECT_EQ(pages.num_blocks(), 2);
  EXPECT_EQ(pages.num_pages(), 8);
  EXPECT_EQ(pool.used(), 8);
}

TEST(SequencePagesTest, CountsKeptLayersTimesBlocks) {
  for (const char* spec : {"none", "attn:last=25%", "attn:0-7", "mlp:last=4", "block:last=1"}) {
    const SkipSet skip = Skip(spec);
    PagePool pool(1000);
    SequencePages pages(pool, skip, 4);
    for (int tokens = 1; tokens <= 40; ++tokens) {
      ASSERT_TRUE(pages.Grow(tokens));
      EXPECT_EQ(pages.num_pages(), skip.KeptAttention() * ((tokens + 3) / 4)) << spec;
      EXPECT_EQ(pages.num_pages(), PagesFor(tokens, skip, 4));
      EXPECT_EQ(pool.used(), pages.num_pages());
    }
  }
}

TEST(SequencePagesTest, NeedsNoPageWithoutAttention) {
  PagePool pool(0);
  SequencePages pages(pool, Skip("attn:0-7"), 16);
  EXPECT_TRUE(pages.Grow(1000));
  EXPECT_EQ(pages.num_pages(), 0);
}

TEST(SequencePagesTest, GrowsByWholeBlocksOrNotAtAll) {
  PagePool pool(11);
  SequencePages pages(pool, Skip("attn:last=4"), 16);  // 4 pages a block
  ASSERT_TRUE(pages.Grow(32));
  EXPECT_EQ(pages.MissingPages(48), 4);
  EXPECT_FALSE(pages.Grow(48));
  EXPECT_EQ(pages.num_blocks(), 2);
  EXPECT_EQ(pages.num_pages(), 8);
  EXPECT_EQ(pool.free(), 3);
  EXPECT_TRUE(pages.Grow(32));
}

TEST(SequencePagesTest, KeepsPagesWhenItGrows) {
  PagePool pool(100);
  SequencePages pages(pool, Skip("attn:last=5"), 4);
  ASSERT_TRUE(pages.Grow(4));
  const PageId first = pages.page(0, 2);
  ASSERT_TRUE(pages.Grow(40));
  EXPECT_EQ(pages.page(0, 2), first);
  std::set<PageId> distinct;
  for (int block = 0; block < 10; ++block) {
    for (int i = 0; i < 3; ++i) distinct.insert(pages.page(block, i));
  }
  EXPECT_EQ(distinct.size(), 30u);
}

TEST(SequencePagesTest, GivesPagesBackWhenItDiesAndOnlyOnce) {
  PagePool pool(16);
  {
    SequencePages pages(pool, Skip("none"), 16);
    ASSERT_TRUE(pages.Grow(16));
    const SequencePages moved(std::move(pages));
    EXPECT_EQ(moved.num_pages(), 8);
    EXPECT_EQ(pool.used(), 8);
  }
  EXPECT_EQ(pool.used(), 0);
}

TEST(SequencePagesTest, ShedsTheDeepestLayersOfEveryBlock) {
  PagePool pool(100);
  SequencePages pages(pool, Skip("attn:2,last=1"), 4);  // layers 0 1 3 4 5 6
  ASSERT_TRUE(pages.Grow(12));
  std::vector<PageId> left;
  for (int block = 0; block < 3; ++block) {
    for (int i = 0; i < 4; ++i) left.push_back(pages.page(block, i));
  }
  pages.ShedTo(Skip("attn:2,5-7"));
  EXPECT_EQ(pages.layers(), (std::vector<int16_t>{0, 1, 3, 4}));
  EXPECT_EQ(pages.num_blocks(), 3);
  EXPECT_EQ(pages.num_pages(), 12);
  EXPECT_EQ(pool.used(), 12);
  EXPECT_EQ(pool.free(), 88);
  std::vector<PageId> found;
  for (int block = 0; block < 3; ++block) {
    for (int i = 0; i < 4; ++i) found.push_back(pages.page(block, i));
  }
  EXPECT_EQ(found, left);
  ASSERT_TRUE(pages.Grow(16));
  EXPECT_EQ(pool.used(), 16);
  EXPECT_EQ(pages.page(2, 3), left.back());
}

TEST(SequencePagesTest, ShedsEveryLayerAndKeepsItsBlocks) {
  PagePool pool(16);
  SequencePages pages(pool, Skip("none"), 4);
  ASSERT_TRUE(pages.Grow(8));
  pages.ShedTo(Skip("none"));
  EXPECT_EQ(pool.used(), 16);
  pages.ShedTo(Skip("attn:0-7"));
  EXPECT_EQ(pages.num_blocks(), 2);
  EXPECT_EQ(pages.num_pages(), 0);
  EXPECT_EQ(pool.free(), 16);
  EXPECT_TRUE(pages.Grow(1000));
  EXPECT_EQ(pages.num_blocks(), 250);
}

TEST(SequencePagesTest, ShedSharedPagesStayWithTheirOtherOwner) {
  PagePool pool(8);
  SequencePages owner(pool, Skip("none"), 4);
  ASSERT_TRUE(owner.Grow(4));
  SequencePages sharer(pool, Skip("none"), 4);
  std::vector<PageId> block(8);
  for (int i = 0; i < 8; ++i) block[i] = owner.page(0, i);
  sharer.Share(block);
  sharer.ShedTo(Skip("attn:5-7"));
  EXPECT_EQ(pool.used(), 8);
  EXPECT_EQ(pool.references(block[4]), 2);
  EXPECT_EQ(pool.references(block[5]), 1);
  owner.Release();
  EXPECT_EQ(pool.used(), 5);
  EXPECT_EQ(pool.free(), 3);
}

TEST(SequencePagesTest, OnlyUnsharedPagesWouldBeFreedByAShed) {
  PagePool pool(16);
  SequencePages first(pool, Skip("none", 2), 4);
  EXPECT_EQ(first.UnsharedPagesOnTop(0, 3), 0) << "it has none";
  ASSERT_TRUE(first.Grow(12));
  EXPECT_EQ(first.UnsharedPagesOnTop(0, 3), 3);
  SequencePages second(pool, Skip("none", 2), 4);
  second.Share(first.pages().subspan(0, 2));
  EXPECT_EQ(first.UnsharedPagesOnTop(0, 3), 2);
  pool.Retain(first.page(1, 1));
  EXPECT_EQ(first.UnsharedPagesOnTop(0, 3), 2) << "what the cache retains can be evicted";
  EXPECT_EQ(second.UnsharedPagesOnTop(0, 3), 0);
  pool.Forget(first.page(1, 1));
}

TEST(SequencePagesTest, ExchangesAPageForOneThatOthersHold) {
  PagePool pool(16);
  SequencePages first(pool, Skip("none", 2), 4);
  SequencePages second(pool, Skip("none", 2), 4);
  ASSERT_TRUE(first.Grow(4) && second.Grow(8));
  second.Exchange(0, 1, first.page(0, 1));
  EXPECT_EQ(second.page(0, 1), first.page(0, 1));
  EXPECT_EQ(pool.used(), 5);
  first.Release();
  EXPECT_EQ(pool.used(), 4);
  second.Release();
  EXPECT_EQ(pool.free(), 16);
}

TEST(SequencePagesDeathTest, DiesOnSheddingFromBelow) {
  PagePool pool(8);
  SequencePages pages(pool, Skip("attn:last=4"), 4);
  EXPECT_DEATH(pages.ShedTo(Skip("attn:0,last=4")), "check failed");
}

TEST(SequencePagesTest, MovesNothingWhenItGrowsIntoReservedMemory) {
  PagePool pool(80);
  SequencePages pages(pool, Skip("none"), 4);
  pages.Reserve(40);
  ASSERT_TRUE(pages.Grow(4));
  const PageId* first = &pages.pages()[0];
  ASSERT_TRUE(pages.Grow(40));
  EXPECT_EQ(&pages.pages()[0], first);
}

// Token by token, up to every length: a windowed layer holds the sink and what the next row sees.
TEST(SequencePagesTest, HoldsSinkAndWindowAtEveryLength) {
  for (const char* spec : {"win:last=4/64", "win:0-7/16", "attn:7+win:5-6/256,0/24"}) {
    for (const int page_tokens : {8, 16, 48}) {
      const SkipSet skip = Skip(spec);
      PagePool pool(8 * 4096 / 8);
      SequencePages pages(pool, skip, page_tokens);
      for (int tokens = 1; tokens <= 4096; ++tokens) {
        ASSERT_TRUE(pages.Grow(tokens));
        ASSERT_LE(pages.num_pages(), MostPagesFor(tokens, skip, page_tokens)) << spec;
        pages.Slide(tokens, tokens, pages.num_blocks());
        int64_t expected = 0;
        for (int layer = 0; layer < skip.num_layers(); ++layer) {
          if (!skip.KeepsAttention(layer)) continue;
          for (int block = 0; block * page_tokens < tokens; ++block) {
            const int last = (block + 1) * page_tokens - 1;
            const bool seen = skip.Window(layer) == 0 || tokens - last < skip.Window(layer);
            expected += seen || block * page_tokens < kSinkTokens ? 1 : 0;
          }
        }
        ASSERT_EQ(pages.num_pages(), expected) << spec << ", " << tokens << " tokens";
        ASSERT_EQ(PagesFor(tokens, skip, page_tokens), expected) << spec;
        ASSERT_EQ(pool.used(), expected);
      }
    }
  }
}

TEST(SequencePagesTest, AWindowNeedsNoMorePagesHoweverLongTheContext) {
  const SkipSet skip = Skip("win:0-7/64");
  EXPECT_EQ(MostPagesFor(2048, skip, 16), 8 * 6) << "one of the sink, five of the window";
  EXPECT_EQ(MostPagesFor(1 << 20, skip, 16), 8 * 6);
  EXPECT_EQ(MostPagesFor(40, skip, 16), 8 * 3);
  EXPECT_EQ(MostTokensFor(8 * 6, skip, 16, 5000), 5000);
  EXPECT_EQ(MostTokensFor(8 * 6 - 1, skip, 16, 5000), 5 * 16);
  EXPECT_EQ(MostTokensFor(100, Skip("attn:last=4"), 16, 5000), 25 * 16);
  EXPECT_EQ(MostTokensFor(3, Skip("none"), 16, 5000), 0);
}

// A prompt above its last full layer: the blocks that no row reaches have no page at any time.
TEST(SequencePagesTest, ASilentPromptTakesNoPageThatNobodyReads) {
  PagePool pool(1000);
  SequencePages pages(pool, Skip("win:last=2/64"), 16);
  pages.Slide(0, 1000, 0);  // rows from 1000 on need logits
  ASSERT_TRUE(pages.Grow(1001));
  EXPECT_EQ(pages.num_blocks(), 63);
  for (int block = 0; block < 63; ++block) {
    EXPECT_NE(pages.page(block, 5), kNoPage);
    // From 1000 - 63 = 937 on, whose block is 58; the layer below from 928 - 63 = 865 on, block 54.
    EXPECT_EQ(pages.page(block, 7) != kNoPage, block == 0 || block >= 58) << block;
    EXPECT_EQ(pages.page(block, 6) != kNoPage, block == 0 || block >= 54) << block;
  }
  EXPECT_EQ(pages.num_pages(), 6 * 63 + 1 + 5 + 1 + 9);
  EXPECT_EQ(pool.used(), pages.num_pages());
}

TEST(SequencePagesTest, AShedWindowGivesBackWhatItDoesNotSee) {
  PagePool pool(1000);
  SequencePages pages(pool, Skip("none", 2), 16);
  ASSERT_TRUE(pages.Grow(640));
  pages.ShedTo(Skip("win:1/64", 2));
  EXPECT_EQ(pages.num_pages(), 80) << "windows are heeded by the next Slide";
  EXPECT_TRUE(pages.Slide(640, 640, pages.num_blocks()));
  EXPECT_EQ(pages.num_pages(), 40 + 1 + 4);
  EXPECT_EQ(pool.used(), 45);
  EXPECT_FALSE(pages.Slide(640, 640, pages.num_blocks()));
}

}  // namespace
}  // namespace skipstone
