#include "engine/skip/skip_set.h"

#include <vector>

#include "absl/hash/hash_testing.h"
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

SkipSet Windowed(int num_layers, std::vector<std::pair<int, int>> windows) {
  SkipSet skip(num_layers);
  for (const auto& [layer, tokens] : windows) skip.WindowAttention(layer, tokens);
  return skip;
}

TEST(SkipSetTest, AWindowedLayerIsKeptAndHasItsOwnCount) {
  const SkipSet skip = Windowed(8, {{6, 64}, {7, 16}, {6, 32}});
  EXPECT_EQ(skip.WindowedAttention(), 2);
  EXPECT_EQ(skip.Window(5), 0);
  EXPECT_EQ(skip.Window(6), 32);
  EXPECT_EQ(skip.Window(7), 16);
  EXPECT_EQ(skip.SmallestWindow(), 16);
  EXPECT_TRUE(skip.KeepsAttention(7));
  EXPECT_EQ(skip.SkippedAttention(), 0);
  EXPECT_EQ(skip.KeptAttention(), 8);
  EXPECT_EQ(skip.LastKeptAttention(), 7);
  EXPECT_FALSE(skip.SkipsEverything());
  EXPECT_EQ(SkipSet(8).WindowedAttention(), 0);
  EXPECT_EQ(SkipSet(8).SmallestWindow(), 0);
}

TEST(SkipSetTest, FindsTheLastAttentionThatSeesAll) {
  SkipSet skip(4);
  EXPECT_EQ(skip.LastFullAttention(), 3);
  skip.WindowAttention(3, 64);
  EXPECT_EQ(skip.LastFullAttention(), 2);
  skip.WindowAttention(1, 64);
  skip.SkipAttention(2);
  EXPECT_EQ(skip.LastFullAttention(), 0);
  EXPECT_EQ(skip.LastKeptAttention(), 3);
  skip.WindowAttention(0, 64);
  EXPECT_EQ(skip.LastFullAttention(), -1);
  EXPECT_EQ(skip.LastKeptAttention(), 3);
}

TEST(SkipSetTest, SkippingTakesTheWindowAway) {
  SkipSet skip = Windowed(4, {{2, 16}, {3, 64}});
  skip.SkipAttention(3);
  skip.SkipAttention(3);
  EXPECT_EQ(skip.WindowedAttention(), 1);
  EXPECT_EQ(skip.Window(3), 0);
  EXPECT_EQ(skip.LastKeptAttention(), 2);
  EXPECT_EQ(skip.ToString(), "attn:3+win:2/16");
  skip.SkipAttention(2);
  EXPECT_EQ(skip.WindowedAttention(), 0);
  EXPECT_EQ(skip.SmallestWindow(), 0);
  SkipSet never(4);
  never.SkipAttention(2);
  never.SkipAttention(3);
  EXPECT_EQ(skip, never);
  EXPECT_EQ(skip.id(), never.id());
}

TEST(SkipSetTest, WritesWindowsBetweenAttentionAndMlp) {
  SkipSet skip = Windowed(32, {{10, 64}, {11, 64}, {12, 128}, {14, 64}, {15, kMaxWindow}});
  EXPECT_EQ(skip.ToString(), "win:10-11/64,12/128,14/64,15/262144");
  skip.SkipMlp(0);
  skip.SkipAttention(31);
  EXPECT_EQ(skip.ToString(), "attn:31+win:10-11/64,12/128,14/64,15/262144+mlp:0");
}

TEST(SkipSetTest, ContainsKeepsTheWindowsThatWereChosen) {
  const SkipSet full(4);
  const SkipSet wide = Windowed(4, {{3, 64}});
  const SkipSet narrow = Windowed(4, {{3, 32}});
  const SkipSet more = Windowed(4, {{2, 16}, {3, 64}});
  SkipSet skipped(4);
  skipped.SkipAttention(3);
  EXPECT_TRUE(wide.Contains(full));
  EXPECT_FALSE(full.Contains(wide)) << "it sees more";
  EXPECT_TRUE(wide.Contains(wide));
  EXPECT_FALSE(narrow.Contains(wide)) << "its K/V are gone";
  EXPECT_FALSE(wide.Contains(narrow));
  EXPECT_TRUE(more.Contains(wide));
  EXPECT_FALSE(wide.Contains(more));
  EXPECT_TRUE(skipped.Contains(wide));
  EXPECT_FALSE(wide.Contains(skipped));
}

TEST(SkipSetTest, BelowIsWhatKeysAndValuesOfALayerDependOn) {
  SkipSet skip = Windowed(4, {{1, 64}, {3, 16}});
  skip.SkipAttention(2);
  skip.SkipMlp(1);
  EXPECT_EQ(skip.Below(0), SkipSet(4));
  EXPECT_EQ(skip.Below(1), SkipSet(4)) << "its own window does not matter";
  EXPECT_EQ(skip.Below(2).ToString(), "win:1/64+mlp:1");
  EXPECT_EQ(skip.Below(3).ToString(), "attn:2+win:1/64+mlp:1");
  EXPECT_EQ(skip.Below(4), skip);
}

TEST(SkipSetTest, WindowsMakeSetsDiffer) {
  SkipSet skipped(4);
  skipped.SkipAttention(3);
  const std::vector<SkipSet> sets = {SkipSet(4),
                                     skipped,
                                     Windowed(4, {{3, 64}}),
                                     Windowed(4, {{3, 72}}),
                                     Windowed(4, {{2, 64}}),
                                     Windowed(4, {{2, 64}, {3, 64}})};
  for (const SkipSet& a : sets) {
    for (const SkipSet& b : sets) {
      EXPECT_EQ(a == b, &a == &b) << a.ToString() << " " << b.ToString();
      EXPECT_EQ(a.id() == b.id(), &a == &b) << a.ToString() << " " << b.ToString();
    }
  }
  EXPECT_TRUE(absl::VerifyTypeImplementsAbslHashCorrectly(sets));
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
  for (const int layer : {16, 17}) skip.WindowAttention(layer, 64);
  for (const int layer : {18, 19}) skip.WindowAttention(layer, 128);
  EXPECT_EQ(skip.ToString(), "attn:20-31+win:16-17/64,18-19/128+mlp:30");
  EXPECT_EQ(skip.id(), 0x2d8d009f21684534u);
  SkipSet half(32);
  for (int layer = 16; layer < 32; ++layer) half.WindowAttention(layer, 64);
  EXPECT_EQ(half.id(), 0x8a884a84d8a85a68u);
}

// Attention 1 and 3, and MLP 2, have maps.
SkipSet Mapped(uint64_t one, uint64_t three, uint64_t mlp) {
  SkipSet skip(4);
  for (const int layer : {1, 2, 3}) skip.SkipAttention(layer);
  skip.SkipMlp(2);
  if (one != 0) skip.MapAttention(1, one);
  if (three != 0) skip.MapAttention(3, three);
  if (mlp != 0) skip.MapMlp(2, mlp);
  return skip;
}

TEST(SkipSetTest, ASkippedSublayerMayHaveAMap) {
  const SkipSet skip = Mapped(7, 8, 9);
  EXPECT_TRUE(skip.HasMaps());
  EXPECT_EQ(skip.AttentionMap(1), 7u);
  EXPECT_EQ(skip.AttentionMap(2), 0u) << "it is the identity";
  EXPECT_EQ(skip.AttentionMap(3), 8u);
  EXPECT_EQ(skip.MlpMap(2), 9u);
  EXPECT_EQ(skip.MlpMap(1), 0u);
  EXPECT_FALSE(skip.KeepsAttention(1));
  EXPECT_EQ(skip.LastKeptAttention(), 0);
  EXPECT_FALSE(skip.WithoutMaps().HasMaps());
  EXPECT_EQ(skip.WithoutMaps(), Mapped(0, 0, 0));
  EXPECT_TRUE(skip.Contains(skip.WithoutMaps()));
  EXPECT_TRUE(skip.WithoutMaps().Contains(skip)) << "of maps it says nothing";
}

TEST(SkipSetTest, MapsMakeSetsDiffer) {
  const std::vector<SkipSet> sets = {Mapped(0, 0, 0), Mapped(7, 0, 0), Mapped(0, 7, 0),
                                     Mapped(0, 0, 7), Mapped(8, 0, 0), Mapped(7, 8, 0),
                                     Mapped(8, 7, 0), Mapped(7, 8, 9), Mapped(7, 8, 10)};
  for (const SkipSet& a : sets) {
    for (const SkipSet& b : sets) {
      EXPECT_EQ(a == b, &a == &b) << a.ToString() << " " << b.ToString();
      EXPECT_EQ(a.id() == b.id(), &a == &b) << a.ToString() << " " << b.ToString();
    }
  }
  EXPECT_TRUE(absl::VerifyTypeImplementsAbslHashCorrectly(sets));
  EXPECT_EQ(Mapped(7, 8, 9), Mapped(7, 8, 9)) << "whoever made them";
  SkipSet other_order(4);
  other_order.SkipMlp(2);
  other_order.MapMlp(2, 9);
  for (const int layer : {3, 1, 2}) other_order.SkipAttention(layer);
  other_order.MapAttention(3, 1);
  other_order.MapAttention(1, 7);
  other_order.MapAttention(3, 8);
  EXPECT_EQ(other_order, Mapped(7, 8, 9));
  EXPECT_EQ(other_order.id(), Mapped(7, 8, 9).id());
}

TEST(SkipSetTest, WhatIsSharedIsNotChangedByACopy) {
  const SkipSet original = Mapped(7, 8, 9);
  SkipSet copy = original;
  EXPECT_EQ(copy, original);
  copy.MapAttention(2, 5);
  EXPECT_EQ(original.AttentionMap(2), 0u);
  EXPECT_NE(copy.ToString(), original.ToString());
}

// The maps of the layer itself are not below its attention.
TEST(SkipSetTest, BelowKeepsTheMapsBelow) {
  const SkipSet skip = Mapped(7, 8, 9);
  EXPECT_FALSE(skip.Below(0).HasMaps());
  EXPECT_EQ(skip.Below(1), SkipSet(4));
  EXPECT_EQ(skip.Below(2).AttentionMap(1), 7u);
  EXPECT_EQ(skip.Below(2).MlpMap(2), 0u);
  EXPECT_EQ(skip.Below(3).MlpMap(2), 9u);
  EXPECT_EQ(skip.Below(3).AttentionMap(3), 0u);
  EXPECT_EQ(skip.Below(4), skip);
  EXPECT_EQ(skip.Below(3), Mapped(7, 5, 9).Below(3)) << "only what lies above differs";
  EXPECT_FALSE(skip.Below(3) == Mapped(6, 8, 9).Below(3));
}

TEST(SkipSetTest, TakesTheMapsOfAnotherSetAboveALayer) {
  SkipSet ceiling = Mapped(70, 80, 90);
  ceiling.MapAttention(2, 75);
  SkipSet skip(4);
  skip.SkipAttention(1);
  skip.SkipAttention(3);
  skip.MapAttention(1, 7);
  skip.MapAttention(3, 8);
  skip.TakeMapsAbove(2, ceiling);
  EXPECT_EQ(skip.AttentionMap(1), 7u) << "below";
  EXPECT_EQ(skip.AttentionMap(3), 80u);
  EXPECT_EQ(skip.MlpMap(2), 0u) << "it is kept";
  skip.SkipAttention(2);
  skip.SkipMlp(2);
  skip.TakeMapsAbove(2, ceiling);
  EXPECT_EQ(skip.AttentionMap(2), 0u) << "the layer's own attention is not above it";
  EXPECT_EQ(skip.MlpMap(2), 90u) << "its MLP is";
  skip.TakeMapsAbove(0, ceiling);
  EXPECT_EQ(skip, ceiling);
  skip.TakeMapsAbove(-1, SkipSet(4));
  EXPECT_FALSE(skip.HasMaps());
  EXPECT_EQ(skip, ceiling.WithoutMaps());
}

// FNV-1a 64, computed apart from this code.
TEST(SkipSetTest, IdsOfCompensatedSetsAreFixedValues) {
  SkipSet skip(32);
  for (int layer = 28; layer < 32; ++layer) skip.SkipAttention(layer);
  skip.SkipMlp(30);
  skip.MapAttention(31, 0xfedcba9876543210u);
  skip.MapMlp(30, 0x42);
  skip.MapAttention(28, 0x0123456789abcdefu);
  EXPECT_EQ(skip.ToString(), "attn:28-31+mlp:30@13b74069319191cd");
  EXPECT_EQ(skip.id(), 0x34704b732ab02e27u);
}

TEST(SkipSetDeathTest, DiesOnAMapOfASublayerThatIsKept) {
  SkipSet skip(4);
  skip.SkipAttention(3);
  skip.SkipMlp(2);
  EXPECT_DEATH(skip.MapAttention(2, 1), "check failed");
  EXPECT_DEATH(skip.MapMlp(3, 1), "check failed");
  EXPECT_DEATH(skip.MapAttention(3, 0), "check failed") << "0 is no fingerprint";
  EXPECT_DEATH(skip.MapMlp(4, 1), "check failed");
}

TEST(SkipSetTest, AWindowIsAMultipleOfEightWithinItsBounds) {
  for (const int tokens : {16, 24, 64, 4096, 1 << 18}) EXPECT_TRUE(IsWindow(tokens)) << tokens;
  for (const int tokens : {0, 8, 15, 17, 20, -16, (1 << 18) + 8, 1000000000}) {
    EXPECT_FALSE(IsWindow(tokens)) << tokens;
  }
}

TEST(SkipSetDeathTest, DiesOnAWindowThatCannotBe) {
  SkipSet skip(4);
  skip.SkipAttention(3);
  EXPECT_DEATH(skip.WindowAttention(2, 20), "check failed");
  EXPECT_DEATH(skip.WindowAttention(3, 64), "check failed") << "it is skipped";
  EXPECT_DEATH(skip.WindowAttention(4, 64), "check failed");
}

TEST(SkipSetDeathTest, DiesOnALayerOutsideTheModel) {
  SkipSet skip(4);
  EXPECT_DEATH(skip.SkipAttention(4), "check failed");
  EXPECT_DEATH(skip.SkipMlp(-1), "check failed");
  EXPECT_DEATH(SkipSet{kMaxLayers + 1}, "check failed");
}

}  // namespace
}  // namespace skipstone
