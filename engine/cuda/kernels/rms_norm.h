#pragma once

#include <cuda_runtime_api.h>

#include "engine/backend/tensor.h"
#include "engine/cuda/kernels/device_step.h"

namespace skipstone::cuda {

// normed[r] = residual[r] / sqrt(mean(residual[r]^2) + epsilon) * weight for the rows of `source`.
struct RmsNormArgs {
  const StepHeader* step;
  RowSource source;
  const float* residual;  // [row][hidden]
  const float* weight;    // [hidden]
  float epsilon;
  int hidden;    // multiple of 8
  DType type;    // of normed
  void* normed;  // [row][hidden]
  int64_t BytesMoved(int rows) const { return int64_t{rows} * hidden * (4 + 2) + 4 * hidden; }
};
// `rows` bounds the rows of the source.
cudaError_t LaunchRmsNorm(const RmsNormArgs& args, int rows, cudaStream_t stream);

}  // namespace skipstone::cuda
