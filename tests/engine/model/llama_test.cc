#include "engine/model/llama.h"

#include <span>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/recording_backend.h"

namespace skipstone {
namespace {

using testing::ElementsAre;

class ForwardTest : public testing::Test {
 protected:
  ForwardTest() {
    weights_.embedding = {0};
    for (int id = 1; id <= 12; id += 6) {
      weights_.layers.push_back({.attention_norm = {id},
                                 .qkv = {id + 1},
                                 .o = {id + 2},
                                 .mlp_norm = {id + 3},
                                 .gate_up = {id + 4},
                                 .down = {id + 5}});
    }
    weights_.final_norm = {13};
    weights_.head = {14};
  }

  std::vector<std::string> Run(const std::vector<LayerRows>& layers, int logits) {
    const std::vector<LogitsRow> rows(logits);
    RecordingBackend backend;
    Forward({.layers = layers, .logits = rows}, weights_, backend);
    return backend.stages;
  }

  const RowList one_{.begin = 0, .count = 1};
  const LayerRows all_{one_, one_, one_};
  Weights weights_;
};

TEST_F(ForwardTest, RunsEveryStageInTheOrderOfTheArchitecture) {
  EXPECT_THAT(Run({all_, all_}, 1),
              ElementsAre("embed w0",                                                           //
                          "qkv 0 w1 w2", "attend 0", "o 0 w3", "gate_up 0 w4 w5", "down 0 w6",  //
                          "qkv 1 w7 w8", "attend 1", "o 1 w9", "gate_up 1 w10 w11", "down 1 w12",
                          "logits w13 w14"));
}

TEST_F(ForwardTest, LeavesOutSublayersWithoutRows) {
  LayerRows only_mlp = all_;
  only_mlp.kv_rows = only_mlp.query_rows = {};
  LayerRows only_attention = all_;
  only_attention.mlp_rows = {};
  EXPECT_THAT(Run({only_attention, only_mlp}, 1),
              ElementsAre("embed w0", "qkv 0 w1 w2", "attend 0", "o 0 w3", "gate_up 1 w10 w11",
                          "down 1 w12", "logits w13 w14"));
}

// Behind the sublayer for which they stand in: others may run it, or nobody.
TEST_F(ForwardTest, AddsMapsInTheirSublayersPlace) {
  const RowList lists[] = {one_, {}};
  LayerRows both = all_;
  both.attention_maps = both.mlp_maps = lists;
  LayerRows maps_alone;
  maps_alone.attention_maps = std::span(lists).first(1);
  weights_.layers[0].attention_maps.resize(2);
  weights_.layers[0].mlp_maps.resize(2);
  weights_.layers[1].attention_maps.resize(1);
  EXPECT_THAT(Run({both, maps_alone}, 1),
              ElementsAre("embed w0", "qkv 0 w1 w2", "attend 0", "o 0 w3", "attention_maps 0 w1 2",
                          "gate_up 0 w4 w5", "down 0 w6", "mlp_maps 0 w4 2",
                          "attention_maps 1 w7 1", "logits w13 w14"));
}

// A prefill chunk of which nothing is sampled: its last kept layer stores keys, no more.
TEST_F(ForwardTest, LeavesOutTheLogitsWhereNoRowNeedsThem) {
  LayerRows only_store;
  only_store.kv_rows = one_;
  EXPECT_THAT(Run({only_store, {}}, 0),
              ElementsAre("embed w0", "qkv 0 w1 w2", "attend 0", "o 0 w3"));
}

}  // namespace
}  // namespace skipstone
