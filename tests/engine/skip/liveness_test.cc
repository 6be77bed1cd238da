#include "engine/skip/liveness.h"

#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

constexpr int kLayers = 4;
constexpr LayerParts kAll{true, true, true};
constexpr LayerParts kNothing{};

SkipSet Set(const char* text) { return *ParseSkipSet(text, kLayers); }

TEST(LivenessTest, ARowThatNeedsLogitsRunsAllThatItsSetKeeps) {
  const SkipSet skip = Set("attn:2-3+mlp:1");
  EXPECT_EQ(PartsOf(skip, 0, true), kAll);
  EXPECT_EQ(PartsOf(skip, 1, true), (LayerParts{.kv = true, .query = true}));
  EXPECT_EQ(PartsOf(skip, 3, true), LayerParts{.mlp = true});
  EXPECT_TRUE(RowsRun(skip, true));
}

TEST(LivenessTest, AnotherRowStopsWithTheKeysOfTheLastKeptAttention) {
  const SkipSet skip = Set("attn:1,3");
  EXPECT_EQ(PartsOf(skip, 0, false), kAll);
  EXPECT_EQ(PartsOf(skip, 1, false), LayerParts{.mlp = true});
  EXPECT_EQ(PartsOf(skip, 2, false), LayerParts{.kv = true});
  EXPECT_EQ(PartsOf(skip, 3, false), kNothing);
  EXPECT_TRUE(RowsRun(skip, false));
  EXPECT_EQ(SublayersEliminated(skip), 2) << "the MLPs of layers 2 and 3";
}

TEST(LivenessTest, WithoutAnyAttentionOnlyRowsThatNeedLogitsRun) {
  const SkipSet skip = Set("attn:0-3");
  for (int layer = 0; layer < kLayers; ++layer) {
    EXPECT_EQ(PartsOf(skip, layer, false), kNothing);
    EXPECT_EQ(PartsOf(skip, layer, true), LayerParts{.mlp = true});
  }
  EXPECT_FALSE(RowsRun(skip, false));
  EXPECT_TRUE(RowsRun(skip, true));
  EXPECT_EQ(SublayersEliminated(skip), kLayers);
}

TEST(LivenessTest, NoRowQueriesThatDoesNotStore) {
  for (const char* text : {"none", "attn:last=2", "block:1", "attn:0,3+mlp:1", "mlp:last=4"}) {
    const SkipSet skip = Set(text);
    for (int layer = 0; layer < kLayers; ++layer) {
      for (const bool logits : {false, true}) {
        const LayerParts parts = PartsOf(skip, layer, logits);
        EXPECT_TRUE(parts.kv || !parts.query) << text << ", layer " << layer;
        EXPECT_TRUE(RowsRun(skip, logits) || parts == kNothing) << text << ", layer " << layer;
      }
    }
  }
}

}  // namespace
}  // namespace skipstone
