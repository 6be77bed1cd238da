#include "engine/skip/liveness.h"

#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

constexpr int kLayers = 4;
constexpr int kPage = 16;
constexpr LayerParts kAll{true, true, true};
constexpr LayerParts kNothing{};

// Letters by layer: f(ull), s(kipped), w(indow of 32), v (of 24).
SkipSet Set(const std::string& attention, const std::vector<int>& mlps = {}) {
  SkipSet skip(static_cast<int>(attention.size()));
  for (int layer = 0; layer < std::ssize(attention); ++layer) {
    if (attention[layer] == 's') skip.SkipAttention(layer);
    if (attention[layer] == 'w') skip.WindowAttention(layer, 32);
    if (attention[layer] == 'v') skip.WindowAttention(layer, 24);
  }
  for (const int layer : mlps) skip.SkipMlp(layer);
  return skip;
}

// The last layer of each row of a sequence of so many, where rows from `first_logits` on need
// logits.
std::vector<int> LastLayers(const SkipSet& skip, int rows, int first_logits, int page = kPage) {
  const Liveness live(skip, page);
  std::vector<int> lasts;
  live.ForEachSpan(0, rows, first_logits, [&](const Liveness::Span& span) {
    EXPECT_EQ(span.begin, std::ssize(lasts));
    EXPECT_LT(span.begin, span.end);
    lasts.resize(span.end, live.LastLayer(span.kind));
  });
  EXPECT_EQ(std::ssize(lasts), rows);
  return lasts;
}

TEST(LivenessTest, ARowThatNeedsLogitsRunsAllThatItsSetKeeps) {
  const SkipSet skip = Set("ffss", {1});
  EXPECT_EQ(PartsOf(skip, 0, kAllLayers), kAll);
  EXPECT_EQ(PartsOf(skip, 1, kAllLayers), (LayerParts{.kv = true, .query = true}));
  EXPECT_EQ(PartsOf(skip, 3, kAllLayers), LayerParts{.mlp = true});
  EXPECT_EQ(SublayersEliminated(skip, kAllLayers), 0);
}

TEST(LivenessTest, AnotherRowStopsWithTheKeysOfTheLastKeptAttention) {
  const SkipSet skip = Set("fsfs");
  EXPECT_EQ(LastLayers(skip, 3, 2), (std::vector<int>{2, 2, kAllLayers}));
  EXPECT_EQ(PartsOf(skip, 0, 2), kAll);
  EXPECT_EQ(PartsOf(skip, 1, 2), LayerParts{.mlp = true});
  EXPECT_EQ(PartsOf(skip, 2, 2), LayerParts{.kv = true});
  EXPECT_EQ(PartsOf(skip, 3, 2), kNothing);
  EXPECT_EQ(SublayersEliminated(skip, 2), 2) << "the MLPs of layers 2 and 3";
}

TEST(LivenessTest, ASilentRowRunsNoMapAtOrAboveItsLastLayer) {
  SkipSet skip = Set("sfsfss", {1, 3, 4});
  for (const int layer : {0, 2, 4, 5}) skip.MapAttention(layer, 10 + layer);
  for (const int layer : {1, 3}) skip.MapMlp(layer, 20 + layer);
  const auto with_map = [&](int layer, int last) {
    const LayerParts parts = PartsOf(skip, layer, last);
    return std::pair(parts.attention_map, parts.mlp_map);
  };
  using Parts = std::pair<bool, bool>;
  EXPECT_EQ(LastLayers(skip, 3, 2), (std::vector<int>{3, 3, kAllLayers}));
  for (const int last : {3, kAllLayers}) {
    EXPECT_EQ(with_map(0, last), Parts(true, false));
    EXPECT_EQ(with_map(1, last), Parts(false, true));
    EXPECT_EQ(with_map(2, last), Parts(true, false));
    EXPECT_EQ(with_map(3, last), Parts(false, last == kAllLayers)) << "its MLP is behind K and V";
    EXPECT_EQ(with_map(4, last), Parts(last == kAllLayers, false)) << "MLP 4 is the identity";
    EXPECT_EQ(with_map(5, last), Parts(last == kAllLayers, false));
    EXPECT_EQ(SublayersEliminated(skip, last), SublayersEliminated(skip.WithoutMaps(), last));
  }
}

TEST(LivenessTest, AMapIsRunForRowsThatLiveOnForAWindow) {
  SkipSet skip = Set("fwsws");
  skip.MapAttention(2, 1);
  skip.MapAttention(4, 2);
  EXPECT_TRUE(PartsOf(skip, 2, 3).attention_map) << "on the way to the window above";
  EXPECT_FALSE(PartsOf(skip, 2, 1).attention_map);
  EXPECT_FALSE(PartsOf(skip, 4, 3).attention_map);
  EXPECT_FALSE(PartsOf(skip, 2, 0).attention_map);
}

TEST(LivenessTest, WithoutAnyAttentionOnlyRowsThatNeedLogitsRun) {
  const SkipSet skip = Set("ssss");
  EXPECT_EQ(LastLayers(skip, 3, 2), (std::vector<int>{-1, -1, kAllLayers}));
  for (int layer = 0; layer < kLayers; ++layer) {
    EXPECT_EQ(PartsOf(skip, layer, -1), kNothing);
    EXPECT_EQ(PartsOf(skip, layer, kAllLayers), LayerParts{.mlp = true});
  }
  EXPECT_EQ(SublayersEliminated(skip, -1), kLayers);
}

TEST(LivenessTest, AWindowBelowAFullLayerStopsNoRow) {
  const SkipSet skip = Set("fwwf");
  for (const int last : LastLayers(skip, 500, 500)) ASSERT_EQ(last, 3);
}

// Rows 299... need logits. Layer 3 is read from 299 - 31 = 268 on, whose block begins at 256; layer
// 2 for that from 256 - 23 = 233 on, whose block begins at 224.
TEST(LivenessTest, AboveTheLastFullAttentionAPromptShrinksToWindowsAndSink) {
  const std::vector<int> lasts = LastLayers(Set("ffvw"), 300, 299);
  for (int row = 0; row < 300; ++row) {
    const int expected = row < 16 ? 3 : row < 224 ? 1 : row < 256 ? 2 : row < 299 ? 3 : kAllLayers;
    ASSERT_EQ(lasts[row], expected) << "row " << row;
  }
}

TEST(LivenessTest, ASkippedLayerBetweenWindowsChangesNoReach) {
  EXPECT_EQ(LastLayers(Set("fvsw"), 300, 299)[230], 1);
  EXPECT_EQ(LastLayers(Set("fvsw"), 300, 299)[100], 0);
  EXPECT_EQ(LastLayers(Set("fvws"), 300, 299)[260], 2);
}

TEST(LivenessTest, WithWindowsOnlyRowsFarBeforeTheLogitsAreNotRun) {
  const std::vector<int> lasts = LastLayers(Set("wwww"), 1000, 1000);
  EXPECT_EQ(lasts[15], 3);
  EXPECT_EQ(lasts[16], -1);
  EXPECT_EQ(lasts[999], 3);
}

// Every position that a row reads in a layer was stored there, whole blocks at a time.
TEST(LivenessTest, WhatIsReadWasStored) {
  for (const char* attention : {"ffww", "wfvw", "wwww", "vsws", "fwsv", "vvff", "fffw"}) {
    for (const int page : {4, 16, 32}) {
      for (const int logits : {1, 15, 17, 40, 100, 163, 200}) {
        const SkipSet skip = Set(attention);
        const std::vector<int> lasts = LastLayers(skip, 200, logits, page);
        for (int layer = 0; layer < kLayers; ++layer) {
          for (int row = 0; row < 200; ++row) {
            const LayerParts parts = PartsOf(skip, layer, lasts[row]);
            if (parts.kv) {
              ASSERT_TRUE(row % page == 0 || PartsOf(skip, layer, lasts[row - 1]).kv)
                  << attention << ": a page of layer " << layer << " begins in its middle";
            }
            if (!parts.query) continue;
            for (int read = 0; read <= row; ++read) {
              const int window = skip.Window(layer);
              if (window > 0 && read >= kSinkTokens && row - read >= window) continue;
              ASSERT_TRUE(PartsOf(skip, layer, lasts[read]).kv)
                  << attention << ", layer " << layer << ": row " << row << " reads " << read;
            }
          }
        }
      }
    }
  }
}

TEST(LivenessTest, NamesTheFirstPositionThatIsReadFromARowOn) {
  for (const char* attention : {"ffww", "wfvw", "wwww", "vsws", "fwsv", "vvff", "fffw"}) {
    const SkipSet skip = Set(attention);
    const Liveness live(skip, kPage);
    const std::vector<int> lasts = LastLayers(skip, 300, 290);
    for (int layer = 0; layer < kLayers; ++layer) {
      if (!skip.KeepsAttention(layer)) continue;
      // Looked up from the end: the least position beside the sink that any row from here on reads.
      int least = 300;
      for (int row = 299; row >= 0; --row) {
        const int window = skip.Window(layer);
        if (PartsOf(skip, layer, lasts[row]).query) {
          least = std::min(least, window == 0 ? 0 : std::max(0, row - window + 1));
        }
        const int first = live.FirstRead(layer, row, 290);
        const bool sink_row = row < kSinkTokens;
        ASSERT_LE(first, sink_row ? std::max(least, first) : least) << attention << ", row " << row;
        ASSERT_GE(first, sink_row ? 0 : least / kPage * kPage) << attention << ", row " << row;
      }
    }
  }
}

TEST(LivenessTest, NoRowQueriesThatDoesNotStore) {
  for (const char* attention : {"ffff", "ffss", "fsff", "sffs", "fwws"}) {
    const SkipSet skip = Set(attention, {1});
    for (int layer = 0; layer < kLayers; ++layer) {
      for (const int last : {-1, 0, 1, 2, 3, kAllLayers}) {
        const LayerParts parts = PartsOf(skip, layer, last);
        EXPECT_TRUE(parts.kv || !parts.query) << attention << ", layer " << layer;
        EXPECT_TRUE(last >= 0 || parts == kNothing) << attention << ", layer " << layer;
      }
    }
  }
}

}  // namespace
}  // namespace skipstone
