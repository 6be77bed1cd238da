#include "engine/cuda/device/device_memory.h"

#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/status.h"
#include "engine/cuda/device/device_error.h"

namespace skipstone::cuda {

cudaError_t DeviceSpace::Allocate(void** data, int64_t bytes) {
  const cudaError_t error = cudaMalloc(data, bytes);
  if (error != cudaSuccess) return error;
  // Clearing runs in the default stream, which the streams of Stream do not wait for.
  const cudaError_t cleared = cudaMemset(*data, 0, bytes);
  return cleared != cudaSuccess ? cleared : cudaStreamSynchronize(nullptr);
}

cudaError_t DeviceSpace::Free(void* data) { return cudaFree(data); }

cudaError_t PinnedSpace::Allocate(void** data, int64_t bytes) {
  return cudaMallocHost(data, bytes);
}

cudaError_t PinnedSpace::Free(void* data) { return cudaFreeHost(data); }

template <class Space>
absl::StatusOr<OwnedMemory<Space>> OwnedMemory<Space>::Allocate(int64_t bytes, const char* what) {
  OwnedMemory memory;
  if (bytes == 0) return memory;
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(Space::Allocate(&memory.data_, bytes),
                                     absl::StrFormat("%d bytes for %s", bytes, what).c_str()));
  memory.bytes_ = bytes;
  return memory;
}

template <class Space>
OwnedMemory<Space>::~OwnedMemory() {
  if (data_ == nullptr) return;
  const cudaError_t error = Space::Free(data_);
  // At exit the driver may have gone first; there is nothing left to free then.
  if (error == cudaSuccess || error == cudaErrorCudartUnloading) return;
  Log(LogSeverity::kError, std::string(ToStatus(error, "freeing memory").message()));
}

template <class Space>
OwnedMemory<Space>::OwnedMemory(OwnedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

template <class Space>
OwnedMemory<Space>& OwnedMemory<Space>::operator=(OwnedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

template class OwnedMemory<DeviceSpace>;
template class OwnedMemory<PinnedSpace>;

absl::StatusOr<StagingMemory> StagingMemory::Allocate(int64_t bytes, const char* what) {
  StagingMemory staging;
  SKIPSTONE_ASSIGN_OR_RETURN(staging.memory, PinnedMemory::Allocate(bytes, what));
  SKIPSTONE_ASSIGN_OR_RETURN(staging.copied, Event::Create());
  return staging;
}

}  // namespace skipstone::cuda
