// Owners of a CUDA stream and of events.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <type_traits>

#include "absl/status/statusor.h"

namespace skipstone::cuda {

// Move-only. Work of one stream runs in the order in which it was enqueued.
class Stream {
 public:
  static absl::StatusOr<Stream> Create();
  cudaStream_t get() const { return stream_.get(); }

 private:
  struct Destroy {
    void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
  };
  std::unique_ptr<std::remove_pointer_t<cudaStream_t>, Destroy> stream_;
};

// A point in a stream that the host can wait for. Move-only.
class Event {
 public:
  // Wait blocks: the step thread leaves its core to the threads that serve the tokens.
  static absl::StatusOr<Event> Create(unsigned flags = cudaEventDisableTiming |
                                                       cudaEventBlockingSync);
  // One whose time on the device is kept.
  static absl::StatusOr<Event> CreateTimed() { return Create(cudaEventBlockingSync); }

  cudaError_t Record(cudaStream_t stream) const { return cudaEventRecord(event_.get(), stream); }
  // Returns at once where nothing was recorded.
  cudaError_t Wait() const { return cudaEventSynchronize(event_.get()); }
  cudaEvent_t get() const { return event_.get(); }
  // Device time since an earlier point, to about a microsecond. Both are timed, and the stream has
  // got to both.
  absl::StatusOr<double> SecondsSince(const Event& earlier) const;

 private:
  struct Destroy {
    void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
  };
  std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, Destroy> event_;
};

}  // namespace skipstone::cuda
