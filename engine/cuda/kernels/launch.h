// Launches a kernel so that it may begin while the one before it ends (programmatic dependent
// launch, sm_90). Every kernel launched through here calls WaitForPrevious before it touches what
// another kernel writes or reads.
#pragma once

#include <cuda_runtime.h>

namespace skipstone::cuda {

struct LaunchShape {
  dim3 grid;
  int threads;
};

// True on devices that know programmatic dependent launch.
inline bool OverlapsLaunches() {
  static const bool overlaps = [] {
    int device = 0;
    int major = 0;
    return cudaGetDevice(&device) == cudaSuccess &&
           cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) ==
               cudaSuccess &&
           major >= 9;
  }();
  return overlaps;
}

template <class... Params, class... Args>
cudaError_t Launch(void (*kernel)(Params...), const LaunchShape& shape, cudaStream_t stream,
                   Args... args) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return cudaSuccess;
  cudaLaunchAttribute overlap = {};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = dim3(shape.threads);
  config.stream = stream;
  config.attrs = &overlap;
  config.numAttrs = OverlapsLaunches() ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...);
}

}  // namespace skipstone::cuda
