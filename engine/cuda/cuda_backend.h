// The CUDA backend: 16-bit weights, pages and activations, f32 residual, accumulation and logits,
// on the first visible device. The step thread makes all calls; after EndWarmUp nothing waits for
// the device but WaitStep and the probe, and only the probe allocates.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/backend/backend.h"

namespace skipstone {

// True if a driver and a device are there.
bool HasCudaDevice();

struct CudaOptions {
  int threads = 1;           // of the host, that load weights
  std::string tuning_cache;  // file of timed algorithms; empty: none is kept
  // The 16-bit type that all matrices get, rounded to the nearest where they have another. Unset:
  // that of the first, and no other is taken.
  std::optional<DType> weight_type;
};

// Errors: UNAVAILABLE without a device or with a driver that is too old, UNIMPLEMENTED naming a
// shape that is not served (head_dim other than 64 and 128, sizes that are no multiple of 8, a
// device before sm_80).
absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const ModelShape& shape,
                                                         const CudaOptions& options = {});

}  // namespace skipstone
