#pragma once

#include <cuda_runtime_api.h>

#include "engine/backend/tensor.h"
#include "engine/cuda/kernels/device_step.h"

namespace skipstone::cuda {

// gated[r] = silu(gate[r]) * up[r] for the rows of `source`.
struct SwiGluArgs {
  const StepHeader* step;
  RowSource source;
  const void* gate_up;  // [row][gate ffn, up ffn] of `type`
  DType type;
  int ffn;      // multiple of 8
  void* gated;  // [row][ffn]
  int64_t BytesMoved(int rows) const { return int64_t{rows} * ffn * 3 * 2; }
};
// `rows` bounds the rows of the source.
cudaError_t LaunchSwiGlu(const SwiGluArgs& args, int rows, cudaStream_t stream);

}  // namespace skipstone::cuda
