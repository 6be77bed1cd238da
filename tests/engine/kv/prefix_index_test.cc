#include "engine/kv/prefix_index.h"

#include <vector>

#include "gtest/gtest.h"
#include "tests/support/mapped_set.h"

namespace skipstone {
namespace {

constexpr int kLayers = 4;
constexpr int kPageTokens = 2;

class PrefixIndexTest : public testing::Test {
 protected:
  SkipSet Skip(const char* spec) { return MappedSet(spec, kLayers); }

  // A sequence that stands in the index with its pages.
  struct Holder {
    Holder(PagePool& pool, const SkipSet& skip) : skip(skip), pages(pool, skip, kPageTokens) {}
    SkipSet skip;
    SequencePages pages;
    PrefixIndex::Cursor cursor;
  };

  Holder Adopt(const std::vector<int32_t>& tokens, const char* skip, const char* salt = "") {
    Holder holder(pool_, Skip(skip));
    const int blocks = static_cast<int>(tokens.size()) / kPageTokens;
    holder.cursor = index_.Adopt(
        {.tokens = tokens, .max_blocks = blocks, .skip = holder.skip, .salt = salt}, holder.pages);
    return holder;
  }

  // Adopts what is there, computes the rest and enters it.
  Holder Compute(const std::vector<int32_t>& tokens, const char* skip, const char* salt = "") {
    Holder holder = Adopt(tokens, skip, salt);
    EXPECT_TRUE(holder.pages.Grow(tokens.size()));
    while (holder.cursor.blocks() < holder.pages.num_blocks()) {
      const auto own = std::span(tokens).subspan(holder.cursor.blocks() * kPageTokens, kPageTokens);
      index_.Insert(holder.cursor, own, holder.pages);
    }
    return holder;
  }

  // Enters one more block of `tokens` behind the cursor.
  void Extend(Holder& holder, const std::vector<int32_t>& tokens) {
    ASSERT_TRUE(holder.pages.Grow((holder.cursor.blocks() + 1) * kPageTokens));
    index_.Insert(holder.cursor, tokens, holder.pages);
  }

  // Sheds the deepest kept layers of pages and cursor.
  static void ShedTop(Holder& holder, int layers) {
    for (int i = 0; i < layers; ++i) holder.skip.SkipAttention(holder.skip.LastKeptAttention());
    holder.pages.ShedTo(holder.skip);
    holder.cursor.ShedTop(static_cast<int>(holder.pages.layers().size()));
  }

  PagePool pool_{64};
  PrefixIndex index_{pool_, kPageTokens};
};

TEST_F(PrefixIndexTest, SharesTheLongestKnownPrefix) {
  const Holder first = Compute({1, 2, 3, 4, 5, 6}, "none");
  const Holder second = Adopt({1, 2, 3, 4, 9, 9}, "none");
  EXPECT_EQ(second.cursor.blocks(), 2);
  for (int block = 0; block < 2; ++block) {
    for (int i = 0; i < kLayers; ++i) {
      EXPECT_EQ(second.pages.page(block, i), first.pages.page(block, i));
    }
  }
  EXPECT_EQ(pool_.used(), 12);
}

TEST_F(PrefixIndexTest, SharesAcrossEveryLastAttentionLevel) {
  const Holder full = Compute({1, 2, 3, 4}, "none");
  for (const char* spec : {"attn:last=1", "attn:last=2", "attn:last=3"}) {
    const Holder skipping = Adopt({1, 2, 3, 4}, spec);
    EXPECT_EQ(skipping.cursor.blocks(), 2) << spec;
    for (int i = 0; i < skipping.skip.KeptAttention(); ++i) {
      EXPECT_EQ(skipping.pages.page(1, i), full.pages.page(1, i));
    }
  }
  EXPECT_EQ(pool_.used(), 8);
}

// Maps of suffix sets lie above all kept layers, so whatever they are, pages are the full model's.
TEST_F(PrefixIndexTest, SuffixSetsWithMapsShareWithTheFullModel) {
  const Holder full = Compute({1, 2, 3, 4}, "none");
  for (const char* spec : {"attn:last=1@1", "attn:last=2@1", "attn:last=2@2", "attn:last=3"}) {
    const Holder compensated = Adopt({1, 2, 3, 4}, spec);
    EXPECT_EQ(compensated.cursor.blocks(), 2) << spec;
    for (int i = 0; i < compensated.skip.KeptAttention(); ++i) {
      EXPECT_EQ(compensated.pages.page(1, i), full.pages.page(1, i)) << spec;
    }
  }
  EXPECT_EQ(pool_.used(), 8);
}

TEST_F(PrefixIndexTest, LayersBelowTheFirstMapAreShared) {
  const Holder full = Compute({1, 2}, "none");
  const Holder plain = Compute({1, 2}, "attn:1");
  const Holder one = Compute({1, 2}, "attn:1@1");
  const Holder two = Compute({1, 2}, "attn:1@2");
  for (const Holder* holder : {&plain, &one, &two}) {
    EXPECT_EQ(holder->pages.page(0, 0), full.pages.page(0, 0));
  }
  const Holder* const all[] = {&plain, &one, &two};
  for (const Holder* a : all) {
    for (const Holder* b : all) {
      EXPECT_EQ(a->pages.page(0, 1) == b->pages.page(0, 1), a == b) << "layer 2";
      EXPECT_EQ(a->pages.page(0, 2) == b->pages.page(0, 2), a == b) << "layer 3";
    }
  }
  const Holder same = Adopt({1, 2}, "attn:1@1");
  EXPECT_EQ(same.cursor.blocks(), 1);
  EXPECT_EQ(same.pages.page(0, 2), one.pages.page(0, 2));
  EXPECT_EQ(Adopt({1, 2}, "attn:1@3").cursor.blocks(), 0);
}

// Of two nested levels whose maps are equal where both skip, the larger one uses the smaller one's
// pages up to the first sublayer that it skips beside: K and V of that layer and below.
TEST_F(PrefixIndexTest, NestedLevelsWithEqualMapsShareUpToTheirDifference) {
  const Holder small = Compute({1, 2}, "attn:0@1");
  const Holder large = Compute({1, 2}, "attn:0,3@1");
  EXPECT_EQ(large.pages.page(0, 0), small.pages.page(0, 0)) << "layer 1";
  EXPECT_EQ(large.pages.page(0, 1), small.pages.page(0, 1)) << "layer 2";
  EXPECT_EQ(pool_.used(), 3);
  const Holder fitted_anew = Compute({1, 2}, "attn:0,3@2");
  EXPECT_NE(fitted_anew.pages.page(0, 0), small.pages.page(0, 0));
  const Holder with_mlp = Compute({1, 2}, "attn:0+mlp:1@1");
  EXPECT_EQ(with_mlp.pages.page(0, 0), small.pages.page(0, 0)) << "MLP 1 is above K and V 1";
  EXPECT_NE(with_mlp.pages.page(0, 1), small.pages.page(0, 1));
  EXPECT_NE(with_mlp.pages.page(0, 1), Compute({1, 2}, "attn:0+mlp:1@3").pages.page(0, 1));
}

TEST_F(PrefixIndexTest, AFullRequestNeedsEveryLayersPage) {
  const Holder skipping = Compute({1, 2}, "attn:last=2");
  EXPECT_EQ(Adopt({1, 2}, "none").cursor.blocks(), 0);
  EXPECT_EQ(Adopt({1, 2}, "attn:last=3").cursor.blocks(), 1);
  const Holder full = Compute({1, 2}, "none");
  EXPECT_EQ(Adopt({1, 2}, "none").cursor.blocks(), 1);
}

TEST_F(PrefixIndexTest, WhatIsSkippedBelowSeparatesTheLayersAbove) {
  const Holder full = Compute({1, 2}, "none");
  // Layer 0 of both is the same; layers above a skipped sublayer are not.
  EXPECT_EQ(Adopt({1, 2}, "attn:1").cursor.blocks(), 0);
  EXPECT_EQ(Adopt({1, 2}, "mlp:0").cursor.blocks(), 0);
  // The MLP of the last layer lies below no attention.
  EXPECT_EQ(Adopt({1, 2}, "mlp:3").cursor.blocks(), 1);
  const Holder other = Compute({1, 2}, "attn:1");
  EXPECT_EQ(Adopt({1, 2}, "attn:1").cursor.blocks(), 1);
  EXPECT_EQ(Adopt({1, 2}, "attn:1,3").cursor.blocks(), 1);
}

TEST_F(PrefixIndexTest, SaltsKeepTenantsApart) {
  const Holder first = Compute({1, 2}, "none", "tenant a");
  EXPECT_EQ(Adopt({1, 2}, "none", "tenant b").cursor.blocks(), 0);
  EXPECT_EQ(Adopt({1, 2}, "none", "tenant a").cursor.blocks(), 1);
}

TEST_F(PrefixIndexTest, PagesStayCachedUntilTheyAreEvictedFromTheTail) {
  { const Holder gone = Compute({1, 2, 3, 4}, "none"); }
  EXPECT_EQ(pool_.used(), 0);
  EXPECT_EQ(pool_.cached(), 8);
  EXPECT_TRUE(index_.Evict());
  EXPECT_EQ(pool_.cached(), 4);
  EXPECT_EQ(Adopt({1, 2, 3, 4}, "none").cursor.blocks(), 1);
  EXPECT_TRUE(index_.Evict());
  EXPECT_FALSE(index_.Evict());
  EXPECT_EQ(pool_.free(), 64);
  EXPECT_EQ(index_.num_nodes(), 0);
}

TEST_F(PrefixIndexTest, EvictsTheLeastRecentlyUsedAndNeverOneInUse) {
  { const Holder a = Compute({1, 1}, "none"); }
  { const Holder b = Compute({2, 2}, "none"); }
  { const Holder a = Adopt({1, 1}, "none"); }
  const Holder c = Compute({3, 3}, "none");
  ASSERT_TRUE(index_.Evict());
  EXPECT_EQ(Adopt({2, 2}, "none").cursor.blocks(), 0);
  EXPECT_EQ(Adopt({1, 1}, "none").cursor.blocks(), 1);
  ASSERT_TRUE(index_.Evict());
  EXPECT_FALSE(index_.Evict());
  EXPECT_EQ(Adopt({3, 3}, "none").cursor.blocks(), 1);
}

TEST_F(PrefixIndexTest, GivesUpPagesOfANodeInUseThatItsUsersDoNotShare) {
  { const Holder full = Compute({1, 2}, "none"); }
  const Holder skipping = Adopt({1, 2}, "attn:last=3");
  ASSERT_EQ(skipping.cursor.blocks(), 1);
  EXPECT_EQ(pool_.cached(), 3);
  EXPECT_TRUE(index_.Evict());
  EXPECT_EQ(pool_.cached(), 0);
  EXPECT_EQ(pool_.used(), 1);
  EXPECT_EQ(Adopt({1, 2}, "none").cursor.blocks(), 0);
  EXPECT_EQ(Adopt({1, 2}, "attn:last=3").cursor.blocks(), 1);
}

TEST_F(PrefixIndexTest, EntersOnlyTheLayersLeftAfterAShed) {
  Holder full = Compute({1, 2}, "none");
  ShedTop(full, 1);
  Extend(full, {3, 4});
  EXPECT_EQ(full.cursor.blocks(), 2);
  EXPECT_EQ(Adopt({1, 2, 3, 4}, "none").cursor.blocks(), 1);
  EXPECT_EQ(Adopt({1, 2, 3, 4}, "attn:last=1").cursor.blocks(), 2);
  // Four pages of the first block, three of the second; the shed one is only cached.
  EXPECT_EQ(pool_.used(), 6);
  EXPECT_EQ(pool_.cached(), 1);
}

TEST_F(PrefixIndexTest, NodesOfShedLayersCanBeEvicted) {
  // Three groups: layers 0, 2 and 3 have different sets of skipped sublayers below.
  Holder holder = Compute({1, 2}, "attn:1+mlp:2");
  ASSERT_EQ(index_.num_nodes(), 3);
  EXPECT_FALSE(index_.Evict());
  ShedTop(holder, 1);
  EXPECT_EQ(pool_.cached(), 1);
  EXPECT_TRUE(index_.Evict());
  EXPECT_EQ(index_.num_nodes(), 2);
  EXPECT_EQ(pool_.cached(), 0);
  EXPECT_FALSE(index_.Evict());
  ShedTop(holder, 2);
  EXPECT_EQ(holder.cursor.blocks(), 1);
  EXPECT_EQ(pool_.used(), 0);
  EXPECT_TRUE(index_.Evict());
  EXPECT_TRUE(index_.Evict());
  EXPECT_EQ(index_.num_nodes(), 0);
  EXPECT_EQ(pool_.free(), pool_.size());
}

TEST_F(PrefixIndexTest, AShedLeavesSharedPagesToTheirOtherHolder) {
  Holder first = Compute({1, 2, 3, 4}, "none");
  const Holder second = Adopt({1, 2, 3, 4}, "none");
  ShedTop(first, 3);
  EXPECT_EQ(pool_.used(), 8);
  EXPECT_EQ(pool_.cached(), 0);
  EXPECT_FALSE(index_.Evict());
  EXPECT_EQ(Adopt({1, 2, 3, 4}, "none").cursor.blocks(), 2);
}

TEST_F(PrefixIndexTest, CountsBlocksOnAfterEveryLayerIsShed) {
  Holder holder = Compute({1, 2}, "none");
  ShedTop(holder, 4);
  Extend(holder, {3, 4});
  EXPECT_EQ(holder.cursor.blocks(), 2);
  EXPECT_EQ(index_.num_nodes(), 1);
  EXPECT_EQ(pool_.cached(), 4);
}

TEST_F(PrefixIndexTest, ACollisionOfHashesIsAMiss) {
  PrefixIndex colliding(pool_, kPageTokens, /*hash_mask=*/0);
  Holder first(pool_, Skip("none"));
  const std::vector<int32_t> tokens{1, 2, 3, 4};
  first.cursor = colliding.Adopt(
      {.tokens = tokens, .max_blocks = 2, .skip = first.skip, .salt = "tenant a"}, first.pages);
  ASSERT_TRUE(first.pages.Grow(4));
  colliding.Insert(first.cursor, std::span(tokens).first(2), first.pages);
  colliding.Insert(first.cursor, std::span(tokens).last(2), first.pages);
  const auto hits = [&](const std::vector<int32_t>& prompt, const char* skip, const char* salt) {
    Holder holder(pool_, Skip(skip));
    holder.cursor = colliding.Adopt(
        {.tokens = prompt, .max_blocks = 2, .skip = holder.skip, .salt = salt}, holder.pages);
    return holder.cursor.blocks();
  };
  EXPECT_EQ(hits({1, 2, 3, 4}, "none", "tenant a"), 2);
  EXPECT_EQ(hits({1, 2, 3, 5}, "none", "tenant a"), 1);  // other tokens
  EXPECT_EQ(hits({3, 4, 3, 4}, "none", "tenant a"), 0);  // another parent
  EXPECT_EQ(hits({1, 2, 3, 4}, "none", "tenant b"), 0);
  EXPECT_EQ(hits({1, 2, 3, 4}, "mlp:0", "tenant a"), 0);
}

TEST_F(PrefixIndexTest, APrefixThatIsUsedAloneOutlivesWhatWasBehindIt) {
  { const Holder longer = Compute({1, 2, 3, 4}, "none"); }
  { const Holder other = Compute({5, 6}, "none"); }
  { const Holder prefix = Adopt({1, 2}, "none"); }
  ASSERT_TRUE(index_.Evict());  // {3, 4}, the least recently used
  ASSERT_TRUE(index_.Evict());  // {5, 6}, used before {1, 2}
  EXPECT_EQ(Adopt({5, 6}, "none").cursor.blocks(), 0);
  EXPECT_EQ(Adopt({1, 2}, "none").cursor.blocks(), 1);
}

TEST_F(PrefixIndexTest, FindsUnusedPagesOfAChainWhoseDeepestBlockIsEvicted) {
  const Holder skipping = Compute({1, 2, 3, 4}, "attn:last=3");
  { const Holder full = Compute({1, 2, 3, 4, 5, 6}, "none"); }
  // Layer 0 of two blocks is in use; behind them lies a block that nobody uses.
  ASSERT_EQ(pool_.cached(), 10);
  EXPECT_TRUE(index_.Evict());
  EXPECT_EQ(pool_.cached(), 6);
  EXPECT_TRUE(index_.Evict());
  EXPECT_EQ(pool_.cached(), 0);
  EXPECT_EQ(pool_.used(), 2);
  EXPECT_FALSE(index_.Evict());
}

TEST_F(PrefixIndexTest, FreesPagesThatOutlivedTheirCursor) {
  const Holder skipping = Compute({1, 2}, "attn:last=3");
  const Holder other = Compute({3, 4}, "attn:last=3");
  Holder full = Compute({1, 2}, "none");
  full.cursor.Reset();
  { const Holder gone = Compute({3, 4}, "none"); }
  EXPECT_EQ(pool_.cached(), 3);
  EXPECT_TRUE(index_.Evict());
  EXPECT_EQ(pool_.cached(), 0);
  EXPECT_FALSE(index_.Evict());
  full.pages.Release();
  EXPECT_EQ(pool_.cached(), 3);
  EXPECT_TRUE(index_.Evict());
  EXPECT_EQ(pool_.cached(), 0);
  EXPECT_EQ(index_.full_walks(), 1);
}

TEST_F(PrefixIndexTest, KeepsNothingForRequestsWithoutAttention) {
  const Holder none = Compute({1, 2, 3, 4}, "attn:0-3");
  EXPECT_EQ(index_.num_nodes(), 0);
  EXPECT_EQ(none.pages.num_pages(), 0);
}

}  // namespace
}  // namespace skipstone
