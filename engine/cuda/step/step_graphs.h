// Recorded launch sequences of small steps: what the host would enqueue kernel by kernel is
// enqueued at once.
#pragma once

#include <cuda_runtime_api.h>

#include <compare>
#include <cstdint>
#include <functional>
#include <map>

#include "engine/cuda/device/device_error.h"
#include "engine/step/step_input.h"

namespace skipstone::cuda {

// The launches of a small step with rows that need logits follow from the rows they cover and from
// which sublayers have rows, and which have rows of maps.
struct StepKind {
  int rows = 0;            // of the bucket
  uint64_t sublayers = 0;  // a hash of those that have rows
  bool maps = false;       // some have rows of maps

  static StepKind Of(const StepInput& step, int rows);
  // All sublayers have rows, and none of maps.
  static StepKind All(int rows) { return {rows, 0}; }
  // Those of All, but any sublayer may be without rows: its kernels leave then. It has no maps.
  static StepKind Any(int rows) { return {rows, 1}; }
  auto operator<=>(const StepKind&) const = default;
};

// Two steps of one kind must enqueue the same launches: all that differs lies in device memory.
// Stays where it is. Step thread only.
class StepGraphs {
 public:
  static constexpr int kMaxGraphs = 128;

  StepGraphs() = default;
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // Enqueues the recorded step; false if there is none of that kind.
  bool Launch(const StepKind& kind, cudaStream_t stream, DeviceError& error) const;
  // Records what `forward` enqueues, which does not run. Beyond kMaxGraphs nothing is recorded.
  // Kernels must have been launched before, so that they are loaded.
  void Record(const StepKind& kind, const std::function<void()>& forward, cudaStream_t stream,
              DeviceError& error);

  int size() const { return static_cast<int>(graphs_.size()); }

 private:
  std::map<StepKind, cudaGraphExec_t> graphs_;
};

}  // namespace skipstone::cuda
