// Orders sublayers by how little they seem to do, from weights or from the states of one pass. The
// searches that remove sublayers and measure are in level_search.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/weights.h"

namespace skipstone::quality {

// [num_layers]: the less, the sooner the sublayer (of MlpCosine the MLP, else the attention) is
// skipped.
using Scores = std::vector<double>;

// Query-key coupling of the weights (Gate-Norm, arXiv 2512.20636): the Frobenius norm of Wq^T Wk
// over the heads, sqrt(sum_h ||Wq_h^T Wk_g(h)||^2), computed from the [head_dim, head_dim] Gram
// matrices, since ||Wq^T Wk||^2 = tr((Wq Wq^T)(Wk Wk^T)). Layers are spread over `threads` threads;
// scores are equal to the bit at any number. FAILED_PRECONDITION if the host has no weights, as of
// a synthetic model on a device.
absl::StatusOr<Scores> GateNorm(const ModelTensors& tensors, const ModelShape& shape, int threads);

// Means over the tokens of windows, of one pass of the full model. Equal inputs in equal order give
// equal scores to the bit; a state that is not finite gives NaN. The scores are of layers that have
// had windows. Not thread-safe.
class StateScores {
 public:
  StateScores(int num_layers, int hidden);

  // The residual before the layer's attention, behind it, and behind the layer's MLP;
  // [rows][hidden] each, rows >= 1 of one window in order.
  void Add(int layer, std::span<const float> before, std::span<const float> after_attention,
           std::span<const float> after_layer);

  // 1 - mean cosine of the residual before and behind the attention sublayer (LLM-Drop,
  // 2406.15786).
  Scores AttentionCosine() const;
  // The same of the MLP sublayer.
  Scores MlpCosine() const;
  // Block influence, 1 - mean cosine over the layer (ShortGPT, 2403.03853).
  Scores BlockInfluence() const;
  // acos(cosine) / pi over the layer at each window's last row, averaged (Gromov, 2403.17887, n =
  // 1).
  Scores AngularDistance() const;

 private:
  struct LayerSums {
    double attention = 0, mlp = 0, block = 0, angle = 0;
    int64_t rows = 0, windows = 0;
  };
  int hidden_;
  std::vector<LayerSums> layers_;
};

// 1 - mean attention weight on position 0, over heads and query rows (the layer's sink score, arXiv
// 2601.06787): heads that look nowhere else do little. Queries and keys are made here from the
// residual and the weights, in f32, softmax in f64; one window costs a layer
// 2 * rows * kv_size * hidden operations. Not thread-safe; uses `threads` threads, equal to the bit
// at any number.
class SinkScores {
 public:
  struct Options {
    int query_rows = 32;  // of a window, evenly spaced, the last one among them
    int threads = 1;
  };
  // Both outlive it. FAILED_PRECONDITION if the host has no weights.
  static absl::StatusOr<SinkScores> Make(const ModelTensors& tensors, const ModelShape& shape,
                                         const Options& options);

  // The residual before the layer's attention, [rows][hidden]: a window's from position 0 on.
  void Add(int layer, std::span<const float> before);

  // Of layers that have had windows.
  Scores Get() const;

 private:
  struct LayerSums {
    double weight = 0;  // on position 0
    int64_t rows = 0;   // queries of all heads
  };
  SinkScores(const ModelTensors& tensors, const ModelShape& shape, const Options& options);

  const ModelTensors& tensors_;
  const ModelShape& shape_;
  const Options options_;
  std::vector<LayerSums> layers_;
};

}  // namespace skipstone::quality
