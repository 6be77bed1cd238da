// One step as a backend sees it: rows in execution order, the row lists of each layer, changes of
// the page tables. Plain views, valid until EndStep returns.
#pragma once

#include <cstdint>
#include <span>

#include "engine/step/sampling.h"

namespace skipstone {

// Rows [begin, begin + count), or, where the skip sets of a step do not nest, rows index[0..count)
// in ascending order.
struct RowList {
  int32_t begin = 0;
  int32_t count = 0;
  const int32_t* index = nullptr;

  bool empty() const { return count == 0; }
  int32_t operator[](int32_t i) const { return index ? index[i] : begin + i; }
};

struct LayerRows {
  RowList kv_rows;     // compute K and V and store them
  RowList query_rows;  // those of kv_rows that compute Q, attend, project
  RowList mlp_rows;
  // Rows for which the layer's i-th attention (MLP) map stands in for the sublayer; empty if there
  // are none of any map.
  std::span<const RowList> attention_maps;
  std::span<const RowList> mlp_maps;
};

// Rows of one slot that follow each other in row order and in position.
struct RowRun {
  int32_t begin = 0;
  int32_t count = 0;
};

struct PageUpdate {
  int32_t slot = 0;
  int32_t layer = 0;
  int32_t block = 0;  // positions [block * page_tokens, (block + 1) * page_tokens)
  int32_t page = 0;
};

// A row's token when it is whatever the step before sampled for the row's slot.
inline constexpr int32_t kSampledToken = -1;

struct StepInput {
  std::span<const int32_t> tokens;     // [rows] ids or kSampledToken
  std::span<const int32_t> positions;  // [rows]
  std::span<const int32_t> slots;      // [rows]
  std::span<const LayerRows> layers;   // [num_layers]
  // Rows [0, logits.size()) need logits: row order puts them first.
  std::span<const LogitsRow> logits;
  std::span<const RowRun> runs;  // cover all rows
  // Where in `windows` a row's begin, [rows]; for each set of windows one for each layer: so many
  // positions up to and with its own a row sees, beside the first sink_tokens; 0: all.
  std::span<const int32_t> sets;
  std::span<const int32_t> windows;  // [sets][num_layers]
  int32_t sink_tokens = 0;
  std::span<const SlotStart> slot_starts;
  std::span<const PageUpdate> page_updates;

  // The window of a row in a layer; 0: it sees all positions up to its own.
  int32_t Window(int32_t row, int layer) const {
    return windows.empty() ? 0 : windows[sets[row] * layers.size() + layer];
  }
};

}  // namespace skipstone
