// Owners of device memory and of page-locked host memory.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace skipstone::cuda {

// Move-only. as<T>() is null where nothing was allocated.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  // Zeroed when it returns. `what` names the use in the error: RESOURCE_EXHAUSTED says how much was wanted.
  static absl::StatusOr<DeviceMemory> Allocate(int64_t bytes, const char* what);
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  int64_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Host memory that the device copies from and to without the host's help. Move-only.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  static absl::StatusOr<PinnedMemory> Allocate(int64_t bytes, const char* what);
  ~PinnedMemory();
  PinnedMemory(PinnedMemory&& other) noexcept;
  PinnedMemory& operator=(PinnedMemory&& other) noexcept;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  int64_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace skipstone::cuda
