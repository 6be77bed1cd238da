// Fitted maps that stand in for skipped sublayers (SEMANTICS "Compensated levels"), by the
// fingerprint of their weights: skip sets, prefix keys and row lists need to know only which maps
// are equal.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace skipstone {

// Bound of the layer bit sets; Llama 2 70B has 80.
inline constexpr int kMaxLayers = 128;

struct SublayerMaps {
  std::array<uint64_t, kMaxLayers> attention{};  // 0: none
  std::array<uint64_t, kMaxLayers> mlp{};
  uint64_t hash = 0;  // of both, equal in every process: SkipSet's
};

// Null has none.
inline bool SameMaps(const SublayerMaps* a, const SublayerMaps* b) {
  if (a == b) return true;
  return a != nullptr && b != nullptr && a->hash == b->hash && a->attention == b->attention &&
         a->mlp == b->mlp;
}

// The maps that a model holds for the sublayers of one layer. A map's place among them is its place
// in the row lists of the layer and among its weights.
struct LayerMaps {
  std::vector<uint64_t> attention;  // fingerprints
  std::vector<uint64_t> mlp;
};

}  // namespace skipstone
