// Row lists in device memory. Offsets count 32-bit words from the step's beginning (device_step.h).
#pragma once

#include <cstdint>

#include "engine/cuda/kernels/attention_work.h"

namespace skipstone::cuda {

// Rows [begin, begin + count), or the `count` row numbers at word `index`; 0: a range.
struct DeviceRowList {
  int32_t begin;
  int32_t count;
  int32_t index;
};

// The rows of one of the maps of a sublayer.
struct DeviceMapList {
  int32_t map;
  DeviceRowList rows;
};

// DeviceMapList [count] at word `lists`, those of maps that have rows.
struct DeviceMapLists {
  int32_t count;
  int32_t lists;
};

// Rows of a list, resolved.
struct RowView {
  int32_t begin;
  int32_t count;
  const int32_t* index;
  SKIPSTONE_DEVICE int32_t operator[](int32_t i) const { return index ? index[i] : begin + i; }

  // The tile from its first row in the list to its last one; empty if it has none.
  SKIPSTONE_DEVICE PrefillTile Clip(const PrefillTile& tile) const {
    const int32_t low = EntriesBelow(tile.row);
    const int32_t high = EntriesBelow(tile.row + tile.count);
    if (low == high) return {tile.row, 0, tile.set};
    return {(*this)[low], (*this)[high - 1] + 1 - (*this)[low], tile.set};
  }

  SKIPSTONE_DEVICE bool Has(int32_t row) const {
    const int32_t i = EntriesBelow(row);
    return i < count && (*this)[i] == row;
  }

  SKIPSTONE_DEVICE int32_t EntriesBelow(int32_t row) const {
    if (index == nullptr) return row < begin ? 0 : row - begin < count ? row - begin : count;
    int32_t low = 0;
    int32_t high = count;
    while (low < high) {
      const int32_t middle = (low + high) / 2;
      if (index[middle] < row) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
};

}  // namespace skipstone::cuda
