#pragma once

#include <cuda_runtime_api.h>

#include "engine/cuda/kernels/kernel_inputs.h"

namespace skipstone::cuda {

// `count` words from word `first` of the upload.
struct WordSpan {
  int32_t first;
  int32_t count;
};

// A slot's new sampling state and the lists behind it. Lists that no flag of the state asks for
// are empty.
struct SlotRecord {
  SlotSampling state;
  int32_t slot;
  WordSpan bias_ids;
  WordSpan bias_values;  // f32
  WordSpan prompt;
  WordSpan output;
  WordSpan suppressed;
};

// Takes the records at the beginning of `upload`, which word spans count from, into the tables.
struct SlotStartArgs {
  const void* upload;
  SlotTables tables;
};
cudaError_t LaunchSlotStart(const SlotStartArgs& args, int records, cudaStream_t stream);

}  // namespace skipstone::cuda
