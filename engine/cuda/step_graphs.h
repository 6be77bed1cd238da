// Recorded launch sequences of small steps: what the host would enqueue kernel by kernel is
// enqueued at once.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <map>

#include "engine/base/step_input.h"
#include "engine/cuda/device_error.h"

namespace skipstone::cuda {

// The launches of a small step follow from the rows they cover and from which sublayers have rows.
uint64_t GraphKey(uint64_t key, const StepInput& step, int rows);

// Two steps of one key must enqueue the same launches: all that differs lies in device memory.
// A key is recorded when it comes a second time, up to kMaxGraphs of them; what comes once is not
// worth it. Move-only. Step thread only.
class StepGraphs {
 public:
  static constexpr int kMaxGraphs = 64;

  StepGraphs() = default;
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  int size() const;  // recorded

  void Run(uint64_t key, const std::function<void()>& forward, cudaStream_t stream,
           DeviceError& error);

 private:
  cudaGraphExec_t Record(const std::function<void()>& forward, cudaStream_t stream,
                         DeviceError& error);

  std::map<uint64_t, cudaGraphExec_t> graphs_;  // null: seen once
};

}  // namespace skipstone::cuda
