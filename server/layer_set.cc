#include "server/layer_set.h"

#include <string>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/skip/skip_grammar.h"
#include "server/field_error.h"

namespace skipstone::server {
namespace {

absl::Status CheckLayer(uint32_t layer, int num_layers) {
  if (layer < static_cast<uint32_t>(num_layers)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("layer %d is outside the model's %d layers", layer, num_layers));
}

absl::Status CheckCount(int listed, int num_layers) {
  if (listed <= num_layers) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%d layers are listed, the model has %d", listed, num_layers));
}

// Those of the list, each of them below `num_layers`.
absl::StatusOr<LayerBits> BitsOf(const google::protobuf::RepeatedField<uint32_t>& list,
                                 int num_layers) {
  SKIPSTONE_RETURN_IF_ERROR(CheckCount(list.size(), num_layers));
  LayerBits bits;
  for (const uint32_t layer : list) {
    SKIPSTONE_RETURN_IF_ERROR(CheckLayer(layer, num_layers));
    bits.set(layer);
  }
  return bits;
}

absl::Status AddWindows(const v1::LayerSet& layers, SkipSet& skip) {
  const absl::Status count = CheckCount(layers.windowed_size(), skip.num_layers());
  if (!count.ok()) return In("skip.layers.windowed", count);
  for (int i = 0; i < layers.windowed_size(); ++i) {
    const v1::WindowedLayer& windowed = layers.windowed(i);
    absl::Status added = CheckLayer(windowed.layer(), skip.num_layers());
    if (added.ok()) {
      added = AddWindow(skip, static_cast<int>(windowed.layer()), windowed.tokens());
    }
    if (!added.ok()) return In(absl::StrFormat("skip.layers.windowed[%d]", i), added);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SkipSet> SkipSetOf(const v1::LayerSet& layers, int num_layers) {
  const auto attention = BitsOf(layers.attention(), num_layers);
  if (!attention.ok()) return In("skip.layers.attention", attention.status());
  const auto mlp = BitsOf(layers.mlp(), num_layers);
  if (!mlp.ok()) return In("skip.layers.mlp", mlp.status());
  SkipSet skip(num_layers);
  for (int layer = 0; layer < num_layers; ++layer) {
    if ((*attention)[layer]) skip.SkipAttention(layer);
    if ((*mlp)[layer]) skip.SkipMlp(layer);
  }
  SKIPSTONE_RETURN_IF_ERROR(AddWindows(layers, skip));
  if (skip.SkipsEverything()) {
    return absl::InvalidArgumentError("skip.layers: every sublayer of the model is skipped");
  }
  return skip;
}

}  // namespace skipstone::server
