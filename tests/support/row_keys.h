// The rows of a step's lists, by what they are instead of where: slot and position.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "engine/step/step_input.h"

namespace skipstone {

using RowKey = std::pair<int, int>;  // slot, position

inline std::set<RowKey> KeysOf(const StepInput& input, const RowList& list) {
  std::set<RowKey> keys;
  for (int i = 0; i < list.count; ++i) {
    keys.insert({input.slots[list[i]], input.positions[list[i]]});
  }
  return keys;
}

// The rows of each of a layer's maps that has any, by fingerprint.
using MapKeys = std::map<uint64_t, std::set<RowKey>>;

inline MapKeys KeysOfMaps(const StepInput& input, std::span<const RowList> lists,
                          const std::vector<uint64_t>& maps) {
  MapKeys keys;
  for (size_t i = 0; i < lists.size(); ++i) {
    if (!lists[i].empty()) keys[maps.at(i)] = KeysOf(input, lists[i]);
  }
  return keys;
}

}  // namespace skipstone
