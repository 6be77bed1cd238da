// Owners of a CUDA stream and of events.
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

// A point in a stream that the host can wait for. Move-only.
class Event {
 public:
  Event() = default;
  // Wait blocks: the step thread leaves its core to the threads that serve the tokens.
  static absl::StatusOr<Event> Create(unsigned flags = cudaEventDisableTiming |
                                                       cudaEventBlockingSync);
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;

  cudaError_t Record(cudaStream_t stream) const { return cudaEventRecord(event_, stream); }
  // Returns at once where nothing was recorded.
  cudaError_t Wait() const { return cudaEventSynchronize(event_); }
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

// A point in a stream whose time on the device is kept. Move-only.
class TimingEvent {
 public:
  TimingEvent() = default;
  static absl::StatusOr<TimingEvent> Create();

  cudaError_t Record(cudaStream_t stream) const { return event_.Record(stream); }
  cudaError_t Wait() const { return event_.Wait(); }
  // Device time since an earlier point, to about a microsecond. The stream has got to both.
  absl::StatusOr<double> SecondsSince(const TimingEvent& earlier) const;

 private:
  Event event_;
};

}  // namespace skipstone::cuda
