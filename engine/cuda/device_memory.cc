#include "engine/cuda/device_memory.h"

#include <cuda_runtime_api.h>

#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/cuda/device_error.h"

namespace skipstone::cuda {
namespace {

absl::Status AllocationError(cudaError_t error, int64_t bytes, const char* what) {
  return ToStatus(error, absl::StrFormat("%d bytes for %s", bytes, what).c_str());
}

void LogFailure(cudaError_t error, const char* what) {
  // At exit the driver may have gone first; there is nothing left to free then.
  if (error == cudaSuccess || error == cudaErrorCudartUnloading) return;
  Log(LogSeverity::kError, std::string(ToStatus(error, what).message()));
}

}  // namespace

absl::StatusOr<DeviceMemory> DeviceMemory::Allocate(int64_t bytes, const char* what) {
  DeviceMemory memory;
  if (bytes == 0) return memory;
  cudaError_t error = cudaMalloc(&memory.data_, bytes);
  if (error != cudaSuccess) {
    memory.data_ = nullptr;
    return AllocationError(error, bytes, what);
  }
  memory.bytes_ = bytes;
  error = cudaMemset(memory.data_, 0, bytes);
  // Clearing runs in the default stream, which the streams of Stream do not wait for.
  if (error == cudaSuccess) error = cudaStreamSynchronize(nullptr);
  if (error != cudaSuccess) return AllocationError(error, bytes, what);
  return memory;
}

DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) LogFailure(cudaFree(data_), "cudaFree");
}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

absl::StatusOr<PinnedMemory> PinnedMemory::Allocate(int64_t bytes, const char* what) {
  PinnedMemory memory;
  if (bytes == 0) return memory;
  const cudaError_t error = cudaMallocHost(&memory.data_, bytes);
  if (error != cudaSuccess) {
    memory.data_ = nullptr;
    return AllocationError(error, bytes, what);
  }
  memory.bytes_ = bytes;
  return memory;
}

PinnedMemory::~PinnedMemory() {
  if (data_ != nullptr) LogFailure(cudaFreeHost(data_), "cudaFreeHost");
}

PinnedMemory::PinnedMemory(PinnedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

PinnedMemory& PinnedMemory::operator=(PinnedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace skipstone::cuda
