// Runs one window of text through a model under several skip sets in one step, teacher-forced:
// calibration looks at the states between sublayers, starts from states, and compares the outcomes.
//
//   WindowPass pass(model, {.window = 512, .variants = 8});
//   pass.Run(tokens, variants, [&](int variant, Point point, std::span<const float> state) {...});
//   pass.outcomes(1);
#pragma once

#include <bitset>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/quality/measures.h"
#include "engine/backend/backend.h"
#include "engine/model/weights.h"
#include "engine/quality/map_fit.h"
#include "engine/skip/skip_set.h"
#include "engine/skip/sublayer_maps.h"

namespace skipstone::quality {

// A place between sublayers: 2 * layer before the layer's attention, 2 * layer + 1 before its MLP,
// 2 * num_layers before the head.
using Point = int;
constexpr Point AttentionPoint(int layer) { return 2 * layer; }
constexpr Point MlpPoint(int layer) { return 2 * layer + 1; }
using Points = std::bitset<2 * kMaxLayers + 1>;

// Maps under trial, which no backend holds: by the point of the sublayer they stand in for.
using FittedMaps = std::map<Point, std::shared_ptr<const FittedMap>>;

// One way through the model. Rows: one for each token of the window but the last.
struct Variant {
  SkipSet skip;
  const FittedMaps* fitted = nullptr;  // those of sublayers that `skip` skips without a map
  Point begin = 0;
  Point end = -1;  // of the pass, whose state can be observed; -1: through the head
  const float* input =
      nullptr;         // [rows][hidden], the state at `begin`; null: the tokens' embedding
  int reference = -1;  // variant whose distribution this one's is compared with
  Points observed;     // points whose state is shown, from begin on
};

// What a pass needs of a model. All outlive it.
struct PassModel {
  const ModelShape& shape;
  const ModelTensors& tensors;         // of the host: norms
  const Weights& weights;              // of the backend
  const std::vector<LayerMaps>& maps;  // that `weights` holds
  Backend& backend;
};

// The residual of all rows at a point, [rows][hidden]; valid within the call.
using Observe = std::function<void(int variant, Point point, std::span<const float> state)>;

// One thread.
class WindowPass {
 public:
  struct Limits {
    int window = 512;  // tokens
    int variants = 8;  // of one step
  };
  // Allocates the backend's pages and buffers. RESOURCE_EXHAUSTED if they do not fit.
  static absl::StatusOr<std::unique_ptr<WindowPass>> Make(const PassModel& model,
                                                          const Limits& limits);
  ~WindowPass();

  // Window: 2 to limits.window tokens of the vocabulary; 1 to limits.variants variants. Errors: the
  // device's, and INTERNAL if a logit is not finite.
  absl::Status Run(std::span<const int32_t> window, std::span<const Variant> variants,
                   const Observe& observe = nullptr);
  // Of the last Run, one for each row; empty of a variant that did not reach the head.
  const std::vector<TokenOutcome>& outcomes(int variant) const;

  // x = RmsNorm(state) * norm of the sublayer at `point`, [rows][hidden].
  std::vector<float> Normed(Point point, std::span<const float> state) const;
  const ModelShape& shape() const;
  const Limits& limits() const;

 private:
  struct Impl;
  explicit WindowPass(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace skipstone::quality
