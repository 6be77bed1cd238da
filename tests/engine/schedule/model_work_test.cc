#include "engine/schedule/model_work.h"

#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

double Silent(const char* skip, const ModelWork& work = {}) {
  const SkipSet set = *ParseSkipSet(skip, 4);
  return RowWork(work, set, set.LastKeptAttention());
}

TEST(ModelWorkTest, ASilentRowWithoutSkippingIsTheUnit) { EXPECT_EQ(Silent("none"), 1); }

TEST(ModelWorkTest, ASilentRowStopsWithTheKeysOfTheLastKeptLayer) {
  // Layers weigh kv 1 + query 1 + mlp 2; without skipping three whole ones and a kv: 13.
  EXPECT_DOUBLE_EQ(Silent("attn:last=50%"), 5.0 / 13);
  EXPECT_DOUBLE_EQ(Silent("attn:last=25%"), 9.0 / 13);
  EXPECT_DOUBLE_EQ(Silent("mlp:0"), 11.0 / 13);
  EXPECT_DOUBLE_EQ(Silent("mlp:3"), 1) << "the last MLP is not run anyway";
  EXPECT_DOUBLE_EQ(Silent("attn:0-3"), 0);
}

TEST(ModelWorkTest, WeighsThePartsByTheirBytes) {
  const ModelWork mlp_only{.query_bytes = 0, .kv_bytes = 0, .mlp_bytes = 5};
  EXPECT_DOUBLE_EQ(Silent("attn:last=50%", mlp_only), 1.0 / 3);
}

TEST(ModelWorkTest, ARowThatNeedsLogitsRunsAllThatItsRequestKeeps) {
  const SkipSet skip = *ParseSkipSet("attn:last=50%", 4);
  EXPECT_EQ(BytesOf({}, PartsOf(skip, 1, kAllLayers)), 4);
  EXPECT_EQ(BytesOf({}, PartsOf(skip, 1, 1)), 1);
  EXPECT_EQ(BytesOf({}, PartsOf(skip, 3, kAllLayers)), 2);
  EXPECT_EQ(BytesOf({}, PartsOf(skip, 3, 1)), 0);
}

}  // namespace
}  // namespace skipstone
