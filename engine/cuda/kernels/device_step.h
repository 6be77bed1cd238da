// One step in device memory: a header and the arrays behind it, packed, so that a step is one copy.
// Written by the host (step_writer), read by every kernel. Offsets count 32-bit words from the
// header's beginning; a kernel takes nothing else that changes from step to step.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define SKIPSTONE_DEVICE __host__ __device__
#else
#define SKIPSTONE_DEVICE
#endif

namespace skipstone::cuda {

// Rows [begin, begin + count), or the `count` row numbers at word `index`; 0: a range.
struct DeviceRowList {
  int32_t begin;
  int32_t count;
  int32_t index;
};

enum class ListKind : int32_t { kKv, kQuery, kMlp, kAll, kLogits };
inline constexpr int kListsPerLayer = 3;

// Positions [first, end) of a decode row's sequence: one of num_splits parts, whose results lie at
// `partial` + split until the last of them is there.
struct DecodeItem {
  int32_t row;
  int32_t first;
  int32_t end;
  int32_t split;
  int32_t num_splits;
  int32_t partial;
};

// Up to kPrefillRows rows of one slot, consecutive in row order and in position.
struct PrefillTile {
  int32_t row;
  int32_t count;
};
inline constexpr int kPrefillRows = 64;

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

  // True if a row of [first, end) is in the list.
  SKIPSTONE_DEVICE bool Meets(int32_t first, int32_t end) const {
    if (count == 0) return false;
    if (index == nullptr) return begin < end && first < begin + count;
    int32_t low = 0;  // the first list entry that is not below `first`
    int32_t high = count;
    while (low < high) {
      const int32_t middle = (low + high) / 2;
      if (index[middle] < first) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low < count && index[low] < end;
  }
};

struct StepHeader {
  int32_t num_rows;
  int32_t num_logits;
  int32_t num_decode_items;
  int32_t num_prefill_tiles;
  int32_t num_page_updates;
  // Offsets in words.
  int32_t tokens;
  int32_t positions;
  int32_t slots;
  int32_t lists;  // DeviceRowList [num_layers][kListsPerLayer]
  int32_t logits;
  int32_t decode_items;
  int32_t prefill_tiles;
  int32_t page_updates;

  template <class T>
  SKIPSTONE_DEVICE const T* At(int32_t word) const {
    return reinterpret_cast<const T*>(reinterpret_cast<const int32_t*>(this) + word);
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
