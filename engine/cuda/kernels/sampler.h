#pragma once

#include <cuda_runtime_api.h>

#include "engine/cuda/kernels/device_step.h"
#include "engine/cuda/kernels/kernel_inputs.h"

namespace skipstone::cuda {

// Reduces logits to what each row wants of them, as engine/cpu/sampler does: the same order of
// operations and the same random numbers. A slot that samples moves on.
struct SampleArgs {
  const StepHeader* step;
  int first;            // logits row of logits[0]
  const float* logits;  // [i][vocab]
  float* scratch;       // [i][vocab], for adjusted logits
  SlotTables tables;
  DeviceLogitsResult* results;  // [logits row]
  DeviceTokenLogprob* top;      // of all rows, each at its top_first
  int64_t BytesMoved(int rows) const { return int64_t{rows} * tables.vocab * 4; }
};
// `rows` bounds the rows from `first` on.
cudaError_t LaunchSample(const SampleArgs& args, int rows, cudaStream_t stream);

}  // namespace skipstone::cuda
