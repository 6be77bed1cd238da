// Owners of a CUDA stream and of an event.
#pragma once

#include <cuda_runtime_api.h>

#include "absl/status/statusor.h"

namespace skipstone::cuda {

// Move-only. Work of one stream runs in the order in which it was enqueued.
class Stream {
 public:
  Stream() = default;
  static absl::StatusOr<Stream> Create();
  ~Stream();
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&& other) noexcept;

  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// A point in a stream that the host can wait for. Move-only; measures no time.
class Event {
 public:
  Event() = default;
  static absl::StatusOr<Event> Create();
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;

  cudaError_t Record(cudaStream_t stream) const { return cudaEventRecord(event_, stream); }
  // Returns at once where nothing was recorded.
  cudaError_t Wait() const { return cudaEventSynchronize(event_); }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace skipstone::cuda
