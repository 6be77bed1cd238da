// How the attention of a step is shared out among thread blocks, and what a window leaves out.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define SKIPSTONE_DEVICE __host__ __device__
#else
#define SKIPSTONE_DEVICE
#endif

namespace skipstone::cuda {

// What a window leaves out behind the sink. Visible positions are counted without it: index i is
// position i before the gap, i + size behind it.
struct Gap {
  int32_t begin;
  int32_t size;

  SKIPSTONE_DEVICE int32_t PositionOf(int32_t index) const {
    return index < begin ? index : index + size;
  }
  // Before the window of a row at `position`; window 0: there is none.
  SKIPSTONE_DEVICE static Gap Before(int32_t position, int32_t window, int32_t sink) {
    const int32_t size = window == 0 ? 0 : position + 1 - window - sink;
    return {sink, size < 0 ? 0 : size};
  }
};

// Indices [first, end) of what a decode row sees: one of num_splits parts, whose results lie at
// `partial` + split until the last of them is there.
struct DecodeItem {
  int32_t row;
  int32_t first;
  int32_t end;
  int32_t split;
  int32_t num_splits;
  int32_t partial;
  Gap gap;
};

// The items of one layer: those of its query_rows that are alone in their run.
struct DecodePlan {
  int32_t count;
  int32_t items;  // at this word
};

// Up to kPrefillRows rows of one slot, consecutive in row order and in position, of one set of
// windows.
struct PrefillTile {
  int32_t row;
  int32_t count;
  int32_t set;
};
inline constexpr int kPrefillRows = 64;

}  // namespace skipstone::cuda
