// One step in device memory: a header and the arrays behind it, packed, so that a step is one copy.
// Written by the host (step_writer), read by every kernel. Offsets count 32-bit words from the
// header's beginning; a kernel takes nothing else that changes from step to step.
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

enum class ListKind : int32_t { kKv, kQuery, kMlp, kAll, kLogits };
inline constexpr int kListsPerLayer = 3;

struct DeviceLogitsRow {
  int32_t slot;
  int32_t position;
  int32_t sample;
  int32_t target;
  int32_t top_n;      // -1: no log-probability
  int32_t top_first;  // of the row's alternatives in the step's array
};

struct DeviceTokenLogprob {
  int32_t id;
  float logprob;
};

struct DeviceLogitsResult {
  int32_t finite;  // 0: a logit is NaN or infinite, and of the rest only `sampled` is valid
  int32_t sampled;
  float sampled_logprob;
  float target_logprob;
};

struct DevicePageUpdate {
  int32_t slot;
  int32_t layer;
  int32_t block;
  int32_t page;
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

// Behind it lies a DecodePlan for each layer.
struct StepHeader {
  int32_t num_rows;
  int32_t num_logits;
  int32_t num_prefill_tiles;
  int32_t num_page_updates;
  // Offsets in words.
  int32_t tokens;
  int32_t positions;
  int32_t slots;
  int32_t lists;  // DeviceRowList [num_layers][kListsPerLayer]
  int32_t logits;
  int32_t prefill_tiles;
  int32_t windows;  // of the tiles' sets, [set][num_layers]; 0: none has one
  int32_t page_updates;

  int32_t sink_tokens;

  template <class T>
  SKIPSTONE_DEVICE const T* At(int32_t word) const {
    return reinterpret_cast<const T*>(reinterpret_cast<const int32_t*>(this) + word);
  }
  // Of a tile's set; 0: its rows see all positions up to their own.
  SKIPSTONE_DEVICE int32_t WindowOf(int32_t set, int32_t layer, int32_t num_layers) const {
    return windows == 0 ? 0 : At<int32_t>(windows)[set * num_layers + layer];
  }
  SKIPSTONE_DEVICE const DecodePlan& PlanOf(int32_t layer) const {
    return reinterpret_cast<const DecodePlan*>(this + 1)[layer];
  }
};

// Which rows a launch covers.
struct RowSource {
  ListKind kind;
  int32_t layer;
  int32_t first;  // kLogits: rows [first, first + limit) of those that need logits
  int32_t limit;

  SKIPSTONE_DEVICE RowView Of(const StepHeader* step) const {
    if (kind == ListKind::kAll) return {0, step->num_rows, nullptr};
    if (kind == ListKind::kLogits) {
      const int32_t left = step->num_logits - first;
      return {first, left < 0 ? 0 : left < limit ? left : limit, nullptr};
    }
    const DeviceRowList& list =
        step->At<DeviceRowList>(step->lists)[layer * kListsPerLayer + static_cast<int32_t>(kind)];
    return {list.begin, list.count, list.index == 0 ? nullptr : step->At<int32_t>(list.index)};
  }
};

inline RowSource LayerRowsOf(ListKind kind, int layer) { return {kind, layer, 0, 0}; }

}  // namespace skipstone::cuda
