#include "engine/skip/skip_set.h"

#include "base/hash.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

TEST(SkipSetTest, SkipsNothingAtFirst) {
  const SkipSet skip(32);
  EXPECT_EQ(skip.num_layers(), 32);
  EXPECT_TRUE(skip.KeepsAttention(31));
  EXPECT_TRUE(skip.KeepsMlp(31));
  EXPECT_EQ(skip.KeptAttention(), 32);
  EXPECT_EQ(skip.LastKeptAttention(), 31);
  EXPECT_EQ(skip.ToString(), "none");
  EXPECT_FALSE(skip.SkipsEverything());
}

TEST(SkipSetTest, CountsAttentionAndMlpApart) {
  SkipSet skip(8);
  skip.SkipAttention(2);
  skip.SkipAttention(2);
  skip.SkipAttention(5);
  skip.SkipMlp(5);
  EXPECT_EQ(skip.SkippedAttention(), 2);
  EXPECT_EQ(skip.SkippedMlp(), 1);
  EXPECT_EQ(skip.KeptAttention(), 6);
  EXPECT_FALSE(skip.KeepsAttention(2));
  EXPECT_TRUE(skip.KeepsMlp(2));
  EXPECT_FALSE(skip.KeepsMlp(5));
}

TEST(SkipSetTest, FindsTheLastKeptAttentionInAnyOrderOfSkipping) {
  SkipSet skip(4);
  skip.SkipAttention(2);
  EXPECT_EQ(skip.LastKeptAttention(), 3);
  skip.SkipAttention(3);
  EXPECT_EQ(skip.LastKeptAttention(), 1);
  skip.SkipMlp(1);
  EXPECT_EQ(skip.LastKeptAttention(), 1);
  skip.SkipAttention(0);
  EXPECT_EQ(skip.LastKeptAttention(), 1);
  skip.SkipAttention(1);
  EXPECT_EQ(skip.LastKeptAttention(), -1);
}

TEST(SkipSetTest, WritesRangesAscendingAndMerged) {
  SkipSet skip(32);
  for (const int layer : {30, 3, 5, 4, 0, 31}) skip.SkipAttention(layer);
  EXPECT_EQ(skip.ToString(), "attn:0,3-5,30-31");
  skip.SkipMlp(7);
  EXPECT_EQ(skip.ToString(), "attn:0,3-5,30-31+mlp:7");
  SkipSet only_mlp(32);
  only_mlp.SkipMlp(1);
  only_mlp.SkipMlp(2);
  EXPECT_EQ(only_mlp.ToString(), "mlp:1-2");
}

TEST(SkipSetTest, SkipsEverythingOnlyWithBothSublayersOfAllLayers) {
  SkipSet skip(2);
  skip.SkipAttention(0);
  skip.SkipAttention(1);
  skip.SkipMlp(0);
  EXPECT_FALSE(skip.SkipsEverything());
  skip.SkipMlp(1);
  EXPECT_TRUE(skip.SkipsEverything());
}

TEST(SkipSetTest, ContainsComparesBothKinds) {
  SkipSet small(8);
  small.SkipAttention(7);
  SkipSet large = small;
  large.SkipMlp(6);
  EXPECT_TRUE(large.Contains(small));
  EXPECT_FALSE(small.Contains(large));
  EXPECT_TRUE(small.Contains(small));
  SkipSet other(8);
  other.SkipAttention(6);
  other.SkipMlp(6);
  EXPECT_FALSE(other.Contains(small));
}

TEST(SkipSetTest, SetsOfModelsOfDifferentDepthAreNotEqual) {
  EXPECT_EQ(SkipSet(4), SkipSet(4));
  EXPECT_FALSE(SkipSet(4) == SkipSet(5));
}

TEST(SkipSetTest, HoldsTheDeepestModel) {
  SkipSet skip(kMaxLayers);
  skip.SkipAttention(kMaxLayers - 1);
  EXPECT_EQ(skip.ToString(), "attn:127");
  EXPECT_EQ(skip.LastKeptAttention(), kMaxLayers - 2);
}

// FNV-1a 64 of the canonical texts, computed apart from this code. Clients may store them.
TEST(SkipSetTest, IdsAreFixedValues) {
  EXPECT_EQ(SkipSet(32).id(), 0x3c0d17bad169557bu);
  SkipSet skip(32);
  skip.SkipAttention(31);
  EXPECT_EQ(skip.id(), 0xaf585306e1a9e284u);
  for (int layer = 20; layer < 31; ++layer) skip.SkipAttention(layer);
  skip.SkipMlp(30);
  EXPECT_EQ(skip.id(), 0xf0a0a5ef65ed219au);
}

TEST(SkipSetDeathTest, DiesOnALayerOutsideTheModel) {
  SkipSet skip(4);
  EXPECT_DEATH(skip.SkipAttention(4), "check failed");
  EXPECT_DEATH(skip.SkipMlp(-1), "check failed");
  EXPECT_DEATH(SkipSet{kMaxLayers + 1}, "check failed");
}

}  // namespace
}  // namespace skipstone
