// Recorded launch sequences of small steps: what the host would enqueue kernel by kernel is
// enqueued at once.
#pragma once

#include <cuda_runtime_api.h>

#include <compare>
#include <cstdint>
#include <functional>
#include <map>

#include "engine/base/step_input.h"
#include "engine/cuda/device_error.h"

namespace skipstone::cuda {

// The launches of a small step with rows that need logits follow from the rows they cover and from
// which sublayers have rows.
struct StepKind {
  int rows = 0;            // of the bucket
  uint64_t sublayers = 0;  // a hash of those that have rows; 0: all

  static StepKind Of(const StepInput& step, int rows);
  auto operator<=>(const StepKind&) const = default;
};

// Two steps of one kind must enqueue the same launches: all that differs lies in device memory. A
// step whose sublayers are a part of another's may replay that one, in which the kernels of the
// others find no rows and leave. Move-only. Step thread only.
class StepGraphs {
 public:
  static constexpr int kMaxGraphs = 128;

  StepGraphs() = default;
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // Until Seal a kind is recorded when it first comes, up to kMaxGraphs of them: `forward` is
  // called twice then. Later a kind that is not there replays the step of all sublayers, or calls
  // `forward` if that is not there either.
  void Run(const StepKind& kind, const std::function<void()>& forward, cudaStream_t stream,
           DeviceError& error);
  void Seal() { sealed_ = true; }

  int size() const { return static_cast<int>(graphs_.size()); }

 private:
  cudaGraphExec_t Record(const std::function<void()>& forward, cudaStream_t stream,
                         DeviceError& error);

  std::map<StepKind, cudaGraphExec_t> graphs_;
  bool sealed_ = false;
};

}  // namespace skipstone::cuda
