// The first CUDA error of a backend. Stages return nothing: they note what failed here, and the
// step's end reports it.
#pragma once

#include <cuda_runtime_api.h>

#include "absl/status/status.h"

namespace skipstone::cuda {

// OK, or a status that names what was called: RESOURCE_EXHAUSTED without memory, UNAVAILABLE
// without a device or driver, else INTERNAL.
absl::Status ToStatus(cudaError_t error, const char* what);

// Step thread only.
class DeviceError {
 public:
  // Keeps the first failure. `what` is a literal that names the operation.
  void Note(cudaError_t error, const char* what) {
    if (error != cudaSuccess && status_.ok()) status_ = ToStatus(error, what);
  }
  void Note(const absl::Status& status) {
    if (!status.ok() && status_.ok()) status_ = status;
  }
  const absl::Status& status() const { return status_; }

 private:
  absl::Status status_;
};

}  // namespace skipstone::cuda
