// Owners of device memory and of page-locked host memory, which the device copies from and to
// without the host's help.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/cuda/device/stream.h"

namespace skipstone::cuda {

// Zeroed memory on the device.
struct DeviceSpace {
  static cudaError_t Allocate(void** data, int64_t bytes);
  static cudaError_t Free(void* data);
};

// Page-locked memory of the host.
struct PinnedSpace {
  static cudaError_t Allocate(void** data, int64_t bytes);
  static cudaError_t Free(void* data);
};

// Move-only. as<T>() is null where nothing was allocated.
template <class Space>
class OwnedMemory {
 public:
  // `what` names the use in the error: RESOURCE_EXHAUSTED says how much was wanted.
  static absl::StatusOr<OwnedMemory> Allocate(int64_t bytes, const char* what);

  template <class T>
  T* as() const {
    return static_cast<T*>(data_.get());
  }
  int64_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(void* data) const;
  };
  std::unique_ptr<void, Free> data_;
  int64_t bytes_ = 0;
};

using DeviceMemory = OwnedMemory<DeviceSpace>;
using PinnedMemory = OwnedMemory<PinnedSpace>;

// Page-locked memory, and the copy after which the host may write it again.
struct StagingMemory {
  PinnedMemory memory;
  Event copied;

  static absl::StatusOr<StagingMemory> Allocate(int64_t bytes, const char* what);
};

}  // namespace skipstone::cuda
