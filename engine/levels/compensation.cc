#include "engine/levels/compensation.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/levels/maps_file.h"

namespace skipstone {
namespace {

absl::StatusOr<WeightId> Add(const Tensor& tensor, Backend& backend) {
  if (tensor.data == nullptr) return WeightId();
  return backend.AddWeights({&tensor, 1});
}

absl::StatusOr<MapWeights> Add(const MapTensors& map, Backend& backend) {
  MapWeights weights;
  SKIPSTONE_ASSIGN_OR_RETURN(weights.bias, Add(map.bias, backend));
  SKIPSTONE_ASSIGN_OR_RETURN(weights.scale, Add(map.scale, backend));
  SKIPSTONE_ASSIGN_OR_RETURN(weights.down, Add(map.down, backend));
  SKIPSTONE_ASSIGN_OR_RETURN(weights.up, Add(map.up, backend));
  return weights;
}

}  // namespace

absl::Status LoadMaps(const LevelsFile& file, uint64_t model_fingerprint, Backend& backend,
                      Weights* weights, std::vector<LayerMaps>* maps) {
  if (file.model_fingerprint != model_fingerprint) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the levels are of another model: that one's fingerprint is %016x, this "
                        "one's is %016x",
                        file.model_fingerprint, model_fingerprint));
  }
  for (const CalibratedLevel& level : file.levels) {
    for (const LevelMap& map : level.maps) {
      maps->resize(weights->layers.size());
      const bool attention = map.sublayer == Sublayer::kAttention;
      const uint64_t fingerprint =
          attention ? level.skip.AttentionMap(map.layer) : level.skip.MlpMap(map.layer);
      LayerMaps& held = (*maps)[map.layer];
      auto& fingerprints = attention ? held.attention : held.mlp;
      if (std::ranges::find(fingerprints, fingerprint) != fingerprints.end()) continue;
      const auto added = Add(map.tensors, backend);
      if (!added.ok()) {
        return {added.status().code(), absl::StrFormat("map '%s': %s", NameOf(level, map),
                                                       std::string(added.status().message()))};
      }
      LayerWeights& layer = weights->layers[map.layer];
      (attention ? layer.attention_maps : layer.mlp_maps).push_back(*added);
      fingerprints.push_back(fingerprint);
    }
  }
  return absl::OkStatus();
}

}  // namespace skipstone
