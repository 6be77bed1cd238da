#pragma once

#include <cuda_runtime_api.h>

#include "engine/cuda/kernels/device_step.h"
#include "engine/cuda/kernels/kernel_inputs.h"

namespace skipstone::cuda {

// residual[r] = table[token of r]; kSampledToken stands for what the row's slot sampled last.
struct EmbedArgs {
  const StepHeader* step;
  const SlotSampling* slots;
  const void* table;  // [vocab, hidden] of `type`
  DType type;
  int vocab;
  int hidden;       // multiple of 8
  float* residual;  // [row][hidden]
  int64_t BytesMoved(int rows) const { return int64_t{rows} * hidden * (2 + 4); }
};
// `rows` bounds the step's rows.
cudaError_t LaunchEmbed(const EmbedArgs& args, int rows, cudaStream_t stream);

}  // namespace skipstone::cuda
