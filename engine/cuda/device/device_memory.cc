#include "engine/cuda/device/device_memory.h"

#include <string>

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
  void* data = nullptr;
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(Space::Allocate(&data, bytes),
                                     absl::StrFormat("%d bytes for %s", bytes, what).c_str()));
  memory.data_.reset(data);
  memory.bytes_ = bytes;
  return memory;
}

template <class Space>
void OwnedMemory<Space>::Free::operator()(void* data) const {
  const cudaError_t error = Space::Free(data);
  // At exit the driver may have gone first; there is nothing left to free then.
  if (error == cudaSuccess || error == cudaErrorCudartUnloading) return;
  Log(LogSeverity::kError, std::string(ToStatus(error, "freeing memory").message()));
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
