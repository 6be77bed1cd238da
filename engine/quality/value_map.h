// The map of the weights themselves that stands in for a skipped attention: what it would do if
// each row attended to itself alone, W_O W_V n (HARP, arXiv 2507.01900, which scales it: see
// map_strength.h). Needs no text.
#pragma once

#include "absl/status/statusor.h"
#include "engine/model/weights.h"
#include "engine/quality/window_pass.h"

namespace skipstone::quality {

// down = W_V, [kv_heads * head_dim][hidden]; up: W_O with the columns of query heads that share a
// K/V head summed, [hidden][kv_heads * head_dim]; no bias. In f32, exact but for those sums.
FittedMap ValueMap(const LayerTensors& layer, const ModelShape& shape);

// Of all attention sublayers that the set skips; an MLP has none. FAILED_PRECONDITION if the host
// has no weights, INVALID_ARGUMENT if K/V heads are wider than the model.
absl::StatusOr<FittedMaps> ValueMaps(const ModelTensors& tensors, const ModelShape& shape,
                                     const SkipSet& skip);

}  // namespace skipstone::quality
