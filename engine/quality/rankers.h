// Orders sublayers by how little they seem to do, from weights or from the states of one pass. The
// searches that remove sublayers and measure are in search.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/weights.h"

namespace skipstone::quality {

// [num_layers]: the less, the sooner the attention sublayer is skipped.
using Scores = std::vector<double>;

// Query-key coupling of the weights (Gate-Norm, arXiv 2512.20636): the Frobenius norm of Wq^T Wk
// over the heads, sqrt(sum_h ||Wq_h^T Wk_g(h)||^2), computed from the [head_dim, head_dim] Gram
// matrices, since ||Wq^T Wk||^2 = tr((Wq Wq^T)(Wk Wk^T)). Uses `threads` threads.
Scores GateNorm(const ModelTensors& tensors, const ModelShape& shape, int threads);

// Sums over the tokens of windows, of one pass of the full model. Equal inputs in equal order give
// equal scores. Not thread-safe.
class StateScores {
 public:
  StateScores(int num_layers, int hidden);

  // The residual before the layer's attention, behind it, and behind the layer's MLP; [rows][hidden]
  // each, rows of one window in order.
  void Add(int layer, std::span<const float> before, std::span<const float> after_attention,
           std::span<const float> after_layer);

  // 1 - mean cosine of the residual before and behind the attention sublayer (LLM-Drop, 2406.15786).
  Scores AttentionCosine() const;
  // The same of the MLP sublayer.
  Scores MlpCosine() const;
  // Block influence, 1 - mean cosine over the layer (ShortGPT, 2403.03853).
  Scores BlockInfluence() const;
  // acos(cosine) / pi over the layer at each window's last row, averaged (Gromov, 2403.17887, n = 1).
  Scores AngularDistance() const;

 private:
  struct LayerSums {
    double attention = 0, mlp = 0, block = 0, angle = 0;
    int64_t rows = 0, windows = 0;
  };
  int hidden_;
  std::vector<LayerSums> layers_;
};

}  // namespace skipstone::quality
