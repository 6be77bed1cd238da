#pragma once

#include <cuda_runtime_api.h>

#include "engine/cuda/kernels/device_step.h"
#include "engine/cuda/kernels/kernel_inputs.h"

namespace skipstone::cuda {

// attended[row] = softmax(q K^T / sqrt(head_dim)) V over positions 0..position of the row's slot,
// for the decode items whose row is in the layer's query_rows.
struct DecodeAttentionArgs {
  const StepHeader* step;
  int layer;
  HeadShape heads;
  PagesView pages;
  DType type;
  const void* qkv;  // [row][q, k, v], q rotated
  void* attended;   // [row][q_size]
  // Of rows whose positions are split: [partial][head][head_dim], and {maximum, sum}
  // [partial][head].
  float* partial_values;
  float2* partial_states;
  int32_t* arrived;  // [partial][head], zero before and after
  // K and V of `tokens` positions.
  int64_t BytesMoved(int64_t tokens) const {
    return tokens * 2 * heads.kv_heads * heads.head_dim * 2;
  }
};
// `items` bounds the step's decode items.
cudaError_t LaunchDecodeAttention(const DecodeAttentionArgs& args, int items, cudaStream_t stream);

}  // namespace skipstone::cuda
