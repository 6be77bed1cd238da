// The CUDA backend and the CPU's with the same weights, for tests of single stages on rows that are
// written, not embedded.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "base/check.h"
#include "engine/cpu/cpu_backend.h"
#include "engine/cuda/cuda_backend.h"
#include "tests/engine/cuda/kernel_rig.h"

namespace skipstone {

class TwoBackends {
 public:
  TwoBackends(const ModelShape& shape, DType type)
      : shape_(shape),
        type_(type),
        cpu_(*MakeCpuBackend(shape, {.threads = 1, .memory_bytes = int64_t{1} << 30})),
        cuda_(*MakeCudaBackend(shape)) {}

  // A random weight of both, which name it by the same number; a lone row is f32.
  WeightId Add(int rows, int cols, float scale) {
    const cuda::Numbers& numbers =
        numbers_.emplace_back(type_, static_cast<size_t>(rows) * cols, ++seed_, scale);
    const Tensor tensor = rows == 1 ? Tensor{numbers.values.data(), DType::kF32, rows, cols}
                                    : Tensor{numbers.bits.data(), type_, rows, cols};
    const WeightId id = *cpu_->AddWeights({&tensor, 1});
    SKIPSTONE_CHECK(cuda_->AddWeights({&tensor, 1})->index == id.index);
    return id;
  }

  void Allocate(const StepLimits& limits) {
    SKIPSTONE_CHECK(cpu_->Allocate(limits).ok() && cuda_->Allocate(limits).ok());
  }

  struct Outcome {
    std::vector<float> residual;
    std::vector<LogitsResult> results;
  };
  using Stages = std::function<void(Backend&)>;

  // Rows of one slot each with these states [row][hidden], then `stages`.
  static Outcome Run(Backend& backend, const StepInput& step, std::span<const float> states,
                     int hidden, const Stages& stages) {
    const int rows = static_cast<int>(states.size()) / hidden;
    std::vector<int32_t> zeros(rows, 0);
    std::vector<int32_t> positions(rows);
    std::iota(positions.begin(), positions.end(), 0);
    const RowRun run{0, rows};
    StepInput input = step;
    input.tokens = input.slots = zeros;
    input.positions = positions;
    input.runs = {&run, 1};
    Outcome outcome;
    outcome.residual.resize(states.size());
    backend.BeginStep(input);
    backend.WriteResidual(0, rows, states.data());
    stages(backend);
    // In two parts: the last rows first.
    const int half = rows / 2;
    backend.ReadResidual(half, rows - half, outcome.residual.data() + half * hidden);
    backend.ReadResidual(0, half, outcome.residual.data());
    backend.EndStep();
    SKIPSTONE_CHECK(backend.WaitStep(&outcome.results).ok());
    return outcome;
  }
  Outcome OnCpu(const StepInput& step, std::span<const float> states, const Stages& stages) {
    return Run(*cpu_, step, states, shape_.hidden, stages);
  }
  Outcome OnCuda(const StepInput& step, std::span<const float> states, const Stages& stages) {
    return Run(*cuda_, step, states, shape_.hidden, stages);
  }

 private:
  const ModelShape shape_;
  const DType type_;
  std::deque<cuda::Numbers> numbers_;  // that the CPU's weights point into
  uint64_t seed_ = 0;
  std::unique_ptr<Backend> cpu_;
  std::unique_ptr<Backend> cuda_;
};

}  // namespace skipstone
