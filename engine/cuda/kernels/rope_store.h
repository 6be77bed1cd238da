#pragma once

#include <cuda_runtime.h>

#include "engine/cuda/kernels/device_step.h"
#include "engine/cuda/kernels/kernel_inputs.h"

namespace skipstone::cuda {

// Queries of query_rows are rotated in place; keys of kv_rows are rotated into their page, values
// copied.
struct RopeStoreArgs {
  const StepHeader* step;
  int layer;
  HeadShape heads;
  PagesView pages;
  const float2* rope;  // [position][head_dim / 2], cosine and sine
  DType type;
  void* qkv;  // [row][q, k, v]
  int64_t BytesMoved(int rows) const { return int64_t{rows} * heads.qkv_size() * 2 * 2; }
};
// `query_rows` and `kv_rows` bound the rows of the two lists.
cudaError_t LaunchRopeStore(const RopeStoreArgs& args, int query_rows, int kv_rows,
                            cudaStream_t stream);

}  // namespace skipstone::cuda
