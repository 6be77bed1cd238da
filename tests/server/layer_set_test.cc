// Errors and windows are in levels_test, where they are those of a request.
#include "server/layer_set.h"

#include "gtest/gtest.h"

namespace skipstone::server {
namespace {

TEST(LayerSetTest, IsASkipSet) {
  v1::LayerSet layers;
  EXPECT_EQ(SkipSetOf(layers, 8)->ToString(), "none");
  layers.add_attention(7);
  layers.add_attention(7);
  layers.add_mlp(0);
  v1::WindowedLayer* const windowed = layers.add_windowed();
  windowed->set_layer(5);
  windowed->set_tokens(64);
  EXPECT_EQ(SkipSetOf(layers, 8)->ToString(), "attn:7+win:5/64+mlp:0");
}

TEST(LayerSetTest, NamesWhatIsWrong) {
  v1::LayerSet layers;
  layers.add_mlp(8);
  EXPECT_EQ(SkipSetOf(layers, 8).status().message(),
            "skip.layers.mlp: layer 8 is outside the model's 8 layers");
  layers.Clear();
  layers.add_attention(0);
  layers.add_mlp(0);
  EXPECT_EQ(SkipSetOf(layers, 1).status().message(),
            "skip.layers: every sublayer of the model is skipped");
  layers.add_attention(0);
  EXPECT_EQ(SkipSetOf(layers, 1).status().message(),
            "skip.layers.attention: 2 layers are listed, the model has 1");
}

}  // namespace
}  // namespace skipstone::server
