#include "engine/quality/value_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/quality/map_apply.h"
#include "tests/engine/quality/quality_model.h"

namespace skipstone::quality {
namespace {

// The first row of a window sees itself alone, so there the map is the attention.
TEST(ValueMapTest, IsTheAttentionOfTheFirstRow) {
  QualityModel model;
  const size_t hidden = model.loaded.config.shape.hidden;
  auto pass = model.Pass({.window = 8, .variants = 1});
  Variant full{.skip = SkipSet(model.layers())};
  full.observed.set();
  std::map<Point, std::vector<float>> states;
  const Windows windows = SomeWindows(1, 8, model.loaded.config.shape.vocab);
  ASSERT_TRUE(pass->Run(windows[0], {&full, 1},
                        [&](int, Point point, std::span<const float> state) {
                          states[point].assign(state.begin(), state.end());
                        })
                  .ok());
  for (const int layer : {0, model.layers() - 1}) {
    const Point point = AttentionPoint(layer);
    const FittedMap map = ValueMap(model.tensors.layers[layer], model.loaded.config.shape);
    std::vector<float> mapped = states[point];
    AddMap(map, pass->Normed(point, states[point]), mapped);
    double error = 0, change = 0;
    for (size_t i = 0; i < hidden; ++i) {
      error += std::pow(mapped[i] - states[point + 1][i], 2);
      change += std::pow(mapped[i] - states[point][i], 2);
    }
    EXPECT_LT(error, 1e-4 * change) << layer;  // the engine's weights and values have 16 bits
    EXPECT_GT(change, 0) << layer;
  }
}

TEST(ValueMapTest, AreOfTheSkippedAttentionOnly) {
  QualityModel model;
  SkipSet skip(model.layers());
  skip.SkipAttention(3);
  skip.SkipMlp(3);
  skip.SkipMlp(4);
  const FittedMaps maps = ValueMaps(model.tensors, model.loaded.config.shape, skip).value();
  ASSERT_EQ(maps.size(), 1);
  EXPECT_EQ(maps.begin()->first, AttentionPoint(3));
}

TEST(ValueMapTest, ModelsThatHaveNoneAreRefused) {
  QualityModel model;
  SkipSet skip(model.layers());
  skip.SkipAttention(1);
  ModelShape wide = model.loaded.config.shape;
  wide.head_dim = wide.hidden;
  EXPECT_EQ(ValueMaps(model.tensors, wide, skip).status().code(),
            wide.kv_heads > 1 ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kOk);
  ModelTensors none = model.tensors;
  none.layers[1].v.data = nullptr;
  EXPECT_EQ(ValueMaps(none, model.loaded.config.shape, skip).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace skipstone::quality
