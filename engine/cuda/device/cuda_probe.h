// Measures the device of a backend: what it can do at the most, and when it gets to points in the
// backend's stream.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/backend/device_probe.h"
#include "engine/cuda/device/device_error.h"
#include "engine/cuda/device/device_memory.h"
#include "engine/cuda/device/stream.h"
#include "engine/cuda/products/device_weights.h"
#include "engine/cuda/products/lt_matmul.h"

namespace skipstone::cuda {

// Holds nothing until it is asked. Stream and weights outlive it.
class CudaProbe final : public DeviceProbe {
 public:
  CudaProbe(cudaStream_t stream, const DeviceWeights& weights, const std::string& tuning_cache = "")
      : stream_(stream), weights_(weights), tuning_cache_(tuning_cache) {}

  // The first call takes a buffer of kL2Caches L2 caches, kept from then on. Below 0.7 s.
  absl::StatusOr<Ceilings> MeasureCeilings() override;
  // Not while a step is recorded.
  void Mark() override;
  absl::StatusOr<std::vector<double>> TakeLaps() override;

  // A cache can hold at most one part in so many of a pass over the buffer.
  static constexpr int kL2Caches = 20;

 private:
  using Enqueue = std::function<absl::Status()>;
  struct Product {
    int rows, outputs, inputs;

    int64_t WeightBytes() const { return int64_t{2} * outputs * inputs; }
    int64_t InputBytes() const { return int64_t{2} * rows * inputs; }
    int64_t OutputBytes() const { return int64_t{2} * rows * outputs; }
    int64_t Bytes() const { return WeightBytes() + InputBytes() + OutputBytes(); }
    double Flops() const { return 2.0 * rows * outputs * inputs; }
    LtShape Shape(DType type) const {
      return {
          .type = type, .rows = rows, .outputs = outputs, .inputs = inputs, .y_stride = outputs};
    }
  };

  static std::vector<Product> ProductsIn(int64_t bytes);

  absl::Status Prepare();
  absl::StatusOr<double> SecondsOf(int calls, const Enqueue& enqueue);
  absl::StatusOr<double> SecondsPerCall(const Enqueue& enqueue, double sample_seconds);
  absl::StatusOr<double> FlopsOf(const Product& product, double sample_seconds);
  absl::StatusOr<double> BytesPerSecond();
  absl::StatusOr<double> FlopsPerSecond();

  const cudaStream_t stream_;
  const DeviceWeights& weights_;
  const std::string tuning_cache_;

  int multiprocessors_ = 0;
  DeviceMemory buffer_;
  DeviceMemory sums_;
  std::optional<LtMatMul> products_;
  std::optional<Product> fastest_;  // of most FLOPs per second
  Event start_, end_;

  std::vector<Event> marks_;  // the first num_marks_ are recorded
  size_t num_marks_ = 0;
  DeviceError error_;  // the first one of a mark
};

}  // namespace skipstone::cuda
