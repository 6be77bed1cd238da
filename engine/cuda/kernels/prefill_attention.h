#pragma once

#include <cuda_runtime_api.h>

#include "engine/cuda/kernels/device_step.h"
#include "engine/cuda/kernels/kernel_inputs.h"

namespace skipstone::cuda {

// attended[row] = softmax(q K^T / sqrt(head_dim)) V over positions 0..position of the row's slot,
// for the prefill tiles that meet the layer's query_rows. Rows of a tile that are not in the list
// get a result that nobody reads.
struct PrefillAttentionArgs {
  const StepHeader* step;
  int layer;
  HeadShape heads;
  PagesView pages;
  DType type;
  const void* qkv;  // [row][q, k, v], q rotated
  void* attended;   // [row][q_size]
  // `tokens`: the positions of a tile's last row, summed over tiles.
  int64_t BytesMoved(int64_t tokens) const { return tokens * 2 * heads.heads * heads.head_dim * 2; }
};
// `tiles` bounds the step's prefill tiles.
cudaError_t LaunchPrefillAttention(const PrefillAttentionArgs& args, int tiles,
                                   cudaStream_t stream);

}  // namespace skipstone::cuda
