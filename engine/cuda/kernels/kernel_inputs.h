// What several kernels take: the pages, the sampling state of the slots.
#pragma once

#include <cstdint>

#include "engine/backend/tensor.h"

namespace skipstone::cuda {

// K/V pages [page][K or V][kv_head][token][dim], 16-bit, and the page table
// [slot][layer][block] -> page.
struct PagesView {
  void* pages;
  int32_t* table;
  int32_t num_layers;
  int32_t blocks;      // of one slot and layer
  int32_t page_shift;  // page_tokens = 1 << page_shift
  int32_t kv_heads;
  int32_t head_dim;
};

struct HeadShape {
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;

#ifdef __CUDACC__
  __host__ __device__
#endif
      int32_t
      qkv_size() const {
    return (heads + 2 * kv_heads) * head_dim;
  }
};

// The sampling state of one slot (engine/step/sampling.h).
struct SlotSampling {
  uint64_t seed;
  float temperature;
  float top_p;
  float min_p;
  float repetition_penalty;
  float presence_penalty;
  float frequency_penalty;
  int32_t top_k;
  int32_t min_tokens;
  uint32_t output_index;
  int32_t last_token;
  int32_t output_tokens;
  int32_t has_bias;        // the slot's row of the bias table counts
  int32_t has_penalties;   // the slot's row of the token table counts
  int32_t has_suppressed;  // the same
};

// Entries of the token table, by slot and id.
inline constexpr uint32_t kInPrompt = 1u << 31;
inline constexpr uint32_t kSuppressed = 1u << 30;
inline constexpr uint32_t kOutputCount = kSuppressed - 1;

// Tables of all slots. The last two are [slot][vocab].
struct SlotTables {
  SlotSampling* slots;
  float* bias;
  uint32_t* tokens;
  int32_t vocab;
};

}  // namespace skipstone::cuda
