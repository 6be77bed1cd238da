#include "engine/quality/value_map.h"

#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/backend/widen.h"

namespace skipstone::quality {

FittedMap ValueMap(const LayerTensors& layer, const ModelShape& shape) {
  const int64_t hidden = shape.hidden, head_dim = shape.head_dim;
  const int64_t values = shape.kv_heads * head_dim;
  FittedMap map;
  map.bias.resize(hidden);
  map.down.resize(values * hidden);
  for (int64_t i = 0; i < values * hidden; ++i) {
    map.down[i] = ElementAt(layer.v.data, layer.v.type, i);
  }
  map.up.resize(hidden * values);
  const int64_t sharing = shape.heads / shape.kv_heads;  // query heads of a K/V head
  for (int64_t channel = 0; channel < hidden; ++channel) {
    for (int64_t head = 0; head < shape.heads; ++head) {
      float* const to = &map.up[channel * values + head / sharing * head_dim];
      const int64_t from = (channel * shape.heads + head) * head_dim;
      for (int64_t i = 0; i < head_dim; ++i) {
        to[i] += ElementAt(layer.o.data, layer.o.type, from + i);
      }
    }
  }
  return map;
}

absl::StatusOr<FittedMaps> ValueMaps(const ModelTensors& tensors, const ModelShape& shape,
                                     const SkipSet& skip) {
  if (shape.kv_heads * shape.head_dim > shape.hidden) {
    return absl::InvalidArgumentError(
        absl::StrFormat("maps of values: rank %d is above the hidden size, %d",
                        shape.kv_heads * shape.head_dim, shape.hidden));
  }
  FittedMaps maps;
  for (int layer = 0; layer < shape.num_layers; ++layer) {
    if (skip.KeepsAttention(layer)) continue;
    if (tensors.layers[layer].v.data == nullptr || tensors.layers[layer].o.data == nullptr) {
      return absl::FailedPreconditionError(
          "maps of values: this model's weights are made on the device, the host has none");
    }
    maps[AttentionPoint(layer)] =
        std::make_shared<const FittedMap>(ValueMap(tensors.layers[layer], shape));
  }
  return maps;
}

}  // namespace skipstone::quality
