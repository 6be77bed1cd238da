#include "engine/cuda/device/stream.h"

#include "base/status.h"
#include "engine/cuda/device/device_error.h"

namespace skipstone::cuda {

absl::StatusOr<Stream> Stream::Create() {
  cudaStream_t raw = nullptr;
  SKIPSTONE_RETURN_IF_ERROR(
      ToStatus(cudaStreamCreateWithFlags(&raw, cudaStreamNonBlocking), "cudaStreamCreate"));
  Stream stream;
  stream.stream_.reset(raw);
  return stream;
}

absl::StatusOr<Event> Event::Create(unsigned flags) {
  cudaEvent_t raw = nullptr;
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(cudaEventCreateWithFlags(&raw, flags), "cudaEventCreate"));
  Event event;
  event.event_.reset(raw);
  return event;
}

absl::StatusOr<double> Event::SecondsSince(const Event& earlier) const {
  float ms = 0;
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(cudaEventElapsedTime(&ms, earlier.event_.get(), event_.get()),
                                     "cudaEventElapsedTime"));
  return ms / 1e3;
}

}  // namespace skipstone::cuda
