// One step in device memory: a header and the arrays behind it, packed, so that a step is one copy.
// Written by the host (step_writer), read by every kernel. Offsets count 32-bit words from the
// header's beginning; a kernel takes nothing else that changes from step to step.
#pragma once

#include <cstdint>

#include "engine/cuda/kernels/attention_work.h"
#include "engine/cuda/kernels/row_view.h"

namespace skipstone::cuda {

enum class ListKind : int32_t {
  kKv,
  kQuery,
  kMlp,
  kAll,
  kLogits,
  kCompared,
  kAttentionMap,
  kMlpMap
};
inline constexpr int kListsPerLayer = 3;
inline constexpr int kMapListsPerLayer = 2;

// Of logits that exist as another row's reference only.
inline constexpr int32_t kNotReduced = -2;

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
  float kl;
};

struct DevicePageUpdate {
  int32_t slot;
  int32_t layer;
  int32_t block;
  int32_t page;
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
  // Where rows are compared: which logits rows exist one after the other, and the place of each
  // one's reference within its block (logits_blocks.h); -1: none, or kNotReduced.
  int32_t compared_rows;
  int32_t references;
  int32_t maps;  // DeviceMapLists [num_layers][kMapListsPerLayer]; 0: no row has a map
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
  SKIPSTONE_DEVICE RowView ViewOf(const DeviceRowList& list) const {
    return {list.begin, list.count, list.index == 0 ? nullptr : At<int32_t>(list.index)};
  }
  // kAttentionMap or kMlpMap.
  SKIPSTONE_DEVICE DeviceMapLists MapListsOf(ListKind kind, int32_t layer) const {
    if (maps == 0) return {0, 0};
    return At<DeviceMapLists>(maps)[layer * kMapListsPerLayer + (kind == ListKind::kMlpMap)];
  }
};

// Which rows a launch covers.
struct RowSource {
  ListKind kind;
  int32_t layer;
  // kLogits: rows [first, first + limit) of those that need logits. kCompared: the same of
  // compared_rows, which are so many. Maps: the rows of map `first`; none if they are more.
  int32_t first;
  int32_t limit;

  SKIPSTONE_DEVICE RowView Of(const StepHeader* step) const {
    if (kind == ListKind::kAll) return {0, step->num_rows, nullptr};
    if (kind == ListKind::kAttentionMap || kind == ListKind::kMlpMap) return OfMap(step);
    if (kind == ListKind::kCompared) {
      return {0, limit, step->At<int32_t>(step->compared_rows) + first};
    }
    if (kind == ListKind::kLogits) {
      const int32_t left = step->num_logits - first;
      return {first, left < 0 ? 0 : left < limit ? left : limit, nullptr};
    }
    return step->ViewOf(
        step->At<DeviceRowList>(step->lists)[layer * kListsPerLayer + static_cast<int32_t>(kind)]);
  }

  SKIPSTONE_DEVICE RowView OfMap(const StepHeader* step) const {
    const DeviceMapLists lists = step->MapListsOf(kind, layer);
    for (int32_t i = 0; i < lists.count; ++i) {
      const DeviceMapList& list = step->At<DeviceMapList>(lists.lists)[i];
      if (list.map == first && list.rows.count <= limit) return step->ViewOf(list.rows);
    }
    return {0, 0, nullptr};
  }
};

inline RowSource LayerRowsOf(ListKind kind, int layer) { return {kind, layer, 0, 0}; }

}  // namespace skipstone::cuda
