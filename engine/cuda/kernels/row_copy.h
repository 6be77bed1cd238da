#pragma once

#include <cuda_runtime_api.h>

#include "engine/backend/tensor.h"
#include "engine/cuda/kernels/device_step.h"

namespace skipstone::cuda {

// Between rows of an index list and the dense rows that a library product needs. The list position
// i of a row is its place among the dense rows. Strides and widths count elements, multiples of 8.
struct RowCopyArgs {
  const StepHeader* step;
  RowSource source;
  const void* from;
  int from_stride;
  void* to;
  int to_stride;
  int width;
};

// to[i] = from[row i], 16-bit elements.
cudaError_t LaunchGatherRows(const RowCopyArgs& args, int rows, cudaStream_t stream);
// to[row i] = from[i], 16-bit elements.
cudaError_t LaunchScatterRows(const RowCopyArgs& args, int rows, cudaStream_t stream);
// to[row i] += from[i], f32.
cudaError_t LaunchScatterAdd(const RowCopyArgs& args, int rows, cudaStream_t stream);

}  // namespace skipstone::cuda
