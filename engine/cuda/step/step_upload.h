// Brings steps to the device, and their results back: each one copy through page-locked memory.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/cuda/device/device_error.h"
#include "engine/cuda/device/device_memory.h"
#include "engine/cuda/device/stream.h"
#include "engine/cuda/step/step_writer.h"

namespace skipstone::cuda {

// Two steps may be in flight: the host's memory is double, the device's is not, because the stream
// orders its use. Step thread only.
class StepUpload {
 public:
  static absl::StatusOr<StepUpload> Create(const StepWriter& writer);

  // Copies the step to the device. Its counts are in host_header() until the next call.
  void Upload(const StepInput& step, cudaStream_t stream, DeviceError& error);
  const StepHeader* device_step() const { return device_.as<StepHeader>(); }
  const StepHeader& host_header() const { return *current_; }
  int64_t max_deltas() const { return writer_.max_deltas(); }
  int32_t num_top() const { return writer_.num_top(); }
  std::span<const int32_t> compared_blocks() const { return writer_.compared_blocks(); }

 private:
  StepWriter writer_;
  DeviceMemory device_;
  std::array<StagingMemory, 2> halves_;
  int next_ = 0;
  const StepHeader* current_ = nullptr;
};

// What the sampler leaves on the device, and its way to the host.
class ResultDownload {
 public:
  static absl::StatusOr<ResultDownload> Create(const StepLimits& limits, int vocab);

  DeviceLogitsResult* device_results() const { return results_.as<DeviceLogitsResult>(); }
  DeviceTokenLogprob* device_top() const { return top_.as<DeviceTokenLogprob>(); }

  // Ends a step: enqueues the copies. `num_top` alternatives in all.
  void Enqueue(std::span<const LogitsRow> rows, int32_t num_top, cudaStream_t stream,
               DeviceError& error);
  // Waits for the oldest step that was ended.
  void Wait(std::vector<LogitsResult>* results, DeviceError& error);

 private:
  struct Half {
    PinnedMemory results;
    PinnedMemory top;
    Event copied;
  };
  struct Step {
    std::vector<LogitsRow> rows;
    int half;
  };
  DeviceMemory results_;
  DeviceMemory top_;
  std::array<Half, 2> halves_;
  int vocab_ = 0;
  int next_ = 0;
  std::deque<Step> in_flight_;
};

}  // namespace skipstone::cuda
