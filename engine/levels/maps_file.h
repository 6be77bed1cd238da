// The maps of a levels file: a safetensors file of LEVEL.layers.L.{attention|mlp}.{bias|...|up}.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/levels/levels_file.h"

namespace skipstone {

// What the map's tensors are called but for their part: "attn-25.layers.22.attention".
std::string NameOf(const CalibratedLevel& level, const LevelMap& map);

// Gives the skip set, which skips the map's sublayer, its fingerprint.
void SetMap(const LevelMap& map, SkipSet& skip);

// Gives each level the maps that `storage` has of it, by layer, and their fingerprints to its skip
// set. What is in the tensors is not looked at. INVALID_ARGUMENT names `path` and the tensor: a
// name of another form, an unknown level, a sublayer that the level keeps, a type that is not
// served.
absl::Status AttachMaps(std::shared_ptr<const Safetensors> storage, const std::string& path,
                        LevelsFile* file);

// A safetensors file of all maps: the header, then the data of each tensor. Equal maps give equal
// bytes.
struct MapsBytes {
  std::string header;
  std::vector<std::string_view> data;  // views of the maps
};
MapsBytes BytesOf(const LevelsFile& file);

}  // namespace skipstone
