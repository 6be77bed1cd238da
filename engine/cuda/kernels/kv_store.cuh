// Where a token's keys and values lie, and how a pair of elements is rotated.
#pragma once

#include "engine/cuda/kernels/kernel_inputs.h"
#include "engine/cuda/kernels/number.cuh"

namespace skipstone::cuda {

enum class PagePart { kKey, kValue };

// The head_dim elements of one token of one head. `table` is the page table of the slot and layer.
template <class T>
__device__ __forceinline__ T* TokenOf(const PagesView& pages, const int32_t* table, int position,
                                      PagePart part, int kv_head) {
  const int64_t page = table[position >> pages.page_shift];
  const int token = position & ((1 << pages.page_shift) - 1);
  const int64_t head =
      page * 2 * pages.kv_heads + (part == PagePart::kValue ? pages.kv_heads : 0) + kv_head;
  return static_cast<T*>(pages.pages) + ((head << pages.page_shift) + token) * pages.head_dim;
}

__device__ __forceinline__ const int32_t* TableOf(const PagesView& pages, int slot, int layer) {
  return pages.table + (static_cast<int64_t>(slot) * pages.num_layers + layer) * pages.blocks;
}

// Rotary position embedding (Su et al. 2021) of the pair (x[i], x[i + head_dim / 2]).
__device__ __forceinline__ float2 Rotate(float low, float high, float2 cos_sin) {
  return make_float2(low * cos_sin.x - high * cos_sin.y, high * cos_sin.x + low * cos_sin.y);
}

}  // namespace skipstone::cuda
