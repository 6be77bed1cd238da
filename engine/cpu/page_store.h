// The memory of the K/V pages and the page tables of the slots. One page holds K and V of
// page_tokens tokens of one layer in f32: [K or V][kv_head][token][dim].
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/cpu/buffer.h"

namespace skipstone {

// The step thread updates; between updates any thread may read, and write distinct tokens.
class PageStore {
 public:
  // RESOURCE_EXHAUSTED if the address space is refused. No memory is used until it is touched.
  absl::Status Allocate(const ModelShape& shape, const StepLimits& limits);

  void Update(std::span<const PageUpdate> updates);

  enum class Part { kKey, kValue };
  // The head_dim floats of one token of one head. The position's page must be in the table.
  float* Token(int slot, int layer, int position, Part part, int kv_head) const {
    const int block = position / page_tokens_;
    const int token = position - block * page_tokens_;
    const int64_t page = PageOf(slot, layer, block);
    return pages_.as<float>() + page * page_floats_ +
           ((part == Part::kValue ? kv_heads_ : 0) + kv_head) * head_floats_ +
           static_cast<int64_t>(token) * head_dim_;
  }

  static int64_t PageBytes(const ModelShape& shape, int page_tokens) {
    return int64_t{2} * shape.kv_size() * page_tokens * static_cast<int64_t>(sizeof(float));
  }

 private:
  int64_t TableIndex(int slot, int layer, int block) const {
    return (static_cast<int64_t>(slot) * num_layers_ + layer) * blocks_ + block;
  }
  int64_t PageOf(int slot, int layer, int block) const {
    return table_.as<int32_t>()[TableIndex(slot, layer, block)];
  }

  int num_layers_ = 0;
  int kv_heads_ = 0;
  int head_dim_ = 0;
  int page_tokens_ = 1;
  int blocks_ = 0;  // of one slot and layer
  int max_slots_ = 0;
  int64_t num_pages_ = 0;
  int64_t head_floats_ = 0;
  int64_t page_floats_ = 0;
  Buffer pages_;
  Buffer table_;  // int32 [slots][layers][blocks]
};

}  // namespace skipstone
