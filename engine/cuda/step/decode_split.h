// How the positions of decode rows are shared out among thread blocks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/cuda/kernels/device_step.h"

namespace skipstone::cuda {

// Aims at `target_items` items of equal length however many rows there are and however much of its
// sequence each sees: what lies in a gap is in no item. At most
// target_items + rows items result, and at most 2 * target_items of them are parts of a row.
class DecodeSplit {
 public:
  explicit DecodeSplit(int target_items = 1) : target_items_(target_items) {}

  // As many items as fill the device with the attention's blocks.
  static DecodeSplit For(const ModelShape& shape, int multiprocessors);

  int MaxItems(int rows) const { return target_items_ + rows; }
  int max_partials() const { return 2 * target_items_; }

  struct Row {
    int32_t row = 0;
    int32_t tokens = 0;  // that it sees
    Gap gap = {};
  };
  // Appends the items of `rows`, all those of one layer, row by row.
  void Plan(std::span<const Row> rows, std::vector<DecodeItem>& items) const;

 private:
  int target_items_;
};

}  // namespace skipstone::cuda
