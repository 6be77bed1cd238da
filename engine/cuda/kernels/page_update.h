#pragma once

#include <cuda_runtime_api.h>

#include "engine/cuda/kernels/device_step.h"

namespace skipstone::cuda {

// table[slot][layer][block] = page for the step's updates.
struct PageUpdateArgs {
  const StepHeader* step;
  int32_t* table;
  int num_layers;
  int blocks;
};
cudaError_t LaunchPageUpdate(const PageUpdateArgs& args, int updates, cudaStream_t stream);

}  // namespace skipstone::cuda
