// Finds the device and says what it serves.
#pragma once

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/cuda/device/stream.h"

namespace skipstone::cuda {

struct Device {
  Stream stream;
  int multiprocessors = 0;
};

// The first visible device. UNAVAILABLE without one or without a driver for it; UNIMPLEMENTED for
// one before compute capability 8.0.
absl::StatusOr<Device> OpenDevice();

// UNIMPLEMENTED or INVALID_ARGUMENT naming what the kernels do not serve.
absl::Status CheckShape(const ModelShape& shape);

}  // namespace skipstone::cuda
