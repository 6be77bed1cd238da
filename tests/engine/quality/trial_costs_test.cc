// What rankings cost, counted in multiplications of rows with weights: a backend that computes
// nothing says how many rows each stage took.
#include <gtest/gtest.h>

#include <vector>

#include "engine/quality/trials.h"
#include "tests/engine/quality/quality_model.h"
#include "tests/support/recording_backend.h"

namespace skipstone::quality {
namespace {

// Elements of weights that one row meets.
struct RowCosts {
  int layers = 0;
  double attention = 0, mlp = 0, head = 0;

  double Pass() const { return layers * (attention + mlp) + head; }
};
RowCosts CostsOf(int layers, double hidden, double kv_size, double ffn, double vocab) {
  return {.layers = layers,
          .attention = 2 * hidden * (hidden + kv_size),
          .mlp = 3 * hidden * ffn,
          .head = hidden * vocab};
}

class CountingBackend : public RecordingBackend {
 public:
  explicit CountingBackend(const RowCosts& costs) : costs_(costs) {}

  void BeginStep(const StepInput& input) override {
    for (const LayerRows& rows : input.layers) {
      total += rows.kv_rows.count * costs_.attention + rows.mlp_rows.count * costs_.mlp;
    }
    total += static_cast<double>(input.logits.size()) * costs_.head;
    logits_ = input.logits.size();
  }
  absl::Status WaitStep(std::vector<LogitsResult>* results) override {
    results->assign(logits_, LogitsResult{.finite = true, .top = {{.id = 0}}});
    return absl::OkStatus();
  }

  double total = 0;

 private:
  const RowCosts costs_;
  size_t logits_ = 0;
};

// Plain passes over the text, logits included, that the removal of each single attention sublayer
// takes, eight windows long.
double PassesOfSingleRemoval(const RowCosts& costs) {
  constexpr int kTokens = 17, kWindows = 8, kHidden = 8;
  const std::vector<float> ones(kHidden, 1);
  const Tensor norm{.data = ones.data(), .rows = 1, .cols = kHidden};
  const ModelShape shape{.num_layers = costs.layers, .hidden = kHidden};
  const ModelTensors tensors{.layers = std::vector<LayerTensors>(
                                 costs.layers, {.attention_norm = norm, .mlp_norm = norm})};
  const Weights weights{.layers = std::vector<LayerWeights>(costs.layers)};
  const std::vector<LayerMaps> no_maps;
  CountingBackend backend(costs);
  auto pass = WindowPass::Make({.shape = shape,
                                .tensors = tensors,
                                .weights = weights,
                                .maps = no_maps,
                                .backend = backend},
                               {.window = kTokens, .variants = 16})
                  .value();
  const Windows windows = SomeWindows(kWindows, kTokens, 100);
  Journal none;
  Trials trials(*pass, windows, none, {});
  std::vector<Candidate> candidates;
  for (int layer = 0; layer < costs.layers; ++layer) {
    candidates.push_back({.point = AttentionPoint(layer)});
  }
  EXPECT_TRUE(trials.Measure({.skip = SkipSet(costs.layers)}, candidates).ok());
  return backend.total / (costs.Pass() * kWindows * (kTokens - 1));
}

TEST(TrialCostsTest, SingleRemovalTakesLessThanTwentyPasses) {
  // Below a candidate nothing runs again: half of 32 layers for each of 32, and the heads.
  const RowCosts llama2_7b = CostsOf(32, 4096, 4096, 11008, 32000);
  EXPECT_NEAR(PassesOfSingleRemoval(llama2_7b), 17.5, 0.05);
  // The head is a fifth of this one.
  const RowCosts smollm2_135m = CostsOf(30, 576, 192, 1536, 49152);
  EXPECT_NEAR(PassesOfSingleRemoval(smollm2_135m), 19.6, 0.05);
}

// What lies below a candidate is the full model, which runs once.
TEST(TrialCostsTest, TheFullModelRunsOnceForEachWindow) {
  const RowCosts attention_alone{.layers = 4, .attention = 1};
  // Layers above each candidate, 3 + 2 + 1 + 0, and the full model's 4.
  EXPECT_EQ(PassesOfSingleRemoval(attention_alone), (6 + 4) / 4.0);
}

}  // namespace
}  // namespace skipstone::quality
