// A map that stands in for a skipped sublayer, as tensors in host memory.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "engine/backend/tensor.h"

namespace skipstone {

// A map as stored: what is absent has no data. See MapWeights.
struct MapTensors {
  Tensor bias;   // [1, hidden]
  Tensor scale;  // [1, hidden]
  Tensor down;   // [rank, hidden]
  Tensor up;     // [hidden, rank]
};

// The parts by their names in a file, in the order in which they are hashed.
inline constexpr std::pair<const char*, Tensor MapTensors::*> kMapParts[] = {
    {"bias", &MapTensors::bias},
    {"scale", &MapTensors::scale},
    {"down", &MapTensors::down},
    {"up", &MapTensors::up}};

// FNV-1a 64 of names, shapes, types and bytes of the parts; never 0.
uint64_t FingerprintOf(const MapTensors& map);

// INVALID_ARGUMENT says which part of the map called `name` is wrong ("tensor 'NAME.up': ..."): a
// shape that it cannot have in a model of this hidden size, a rank above it, a number that is NaN
// or infinite; or that there is no part.
absl::Status CheckMap(const MapTensors& map, int hidden, const std::string& name);

}  // namespace skipstone
