// The weights on the device: matrices as they are, norms as f32.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/tensor.h"
#include "engine/cuda/device/device_memory.h"
#include "engine/cuda/device/stream.h"

namespace skipstone::cuda {

// A group of matrices that share their input, one below the other: [rows, cols] of the model's
// type, with zeros up to a multiple of 8 columns, which `cols` counts, and of 8 rows, which `rows`
// does not. A lone row is a vector, f32.
struct DeviceWeight {
  DeviceMemory memory;
  int rows = 0;
  int cols = 0;
  bool is_vector = false;

  const float* vector() const { return memory.as<float>(); }
};

// Copies through page-locked memory: while the device takes one half, the host fills the other.
// Random matrices without data are made on the device.
class DeviceWeights {
 public:
  // Threads that fill a half; most of it is page faults of a mapped file.
  explicit DeviceWeights(int threads, std::optional<DType> type = std::nullopt)
      : threads_(threads),
        converts_(type.has_value()),
        has_type_(converts_),
        type_(type.value_or(DType::kBF16)) {}

  // Returns the weight's number. UNIMPLEMENTED names what is not served: vectors and random
  // matrices whose inputs are no multiple of 8 and, unless a type was given, f32 matrices and two
  // types in one model.
  // INVALID_ARGUMENT for a group that does not match, and for a number that is too large for the
  // type.
  absl::StatusOr<int> Add(std::span<const Tensor> group, cudaStream_t stream);
  // Waits for the copies and gives the page-locked memory back.
  absl::Status Finish(cudaStream_t stream);

  const DeviceWeight& operator[](int i) const { return weights_[i]; }
  // Of an optional vector: null for -1.
  const float* VectorOf(int i) const { return i < 0 ? nullptr : weights_[i].vector(); }
  int64_t bytes() const;
  // Of all matrices.
  DType type() const { return type_; }

 private:
  absl::Status Check(std::span<const Tensor> group) const;
  // Brings bytes [0, bytes), of which `fill` writes those from `first` on, to the device.
  using Fill = std::function<absl::Status(int64_t first, int64_t bytes, char* to)>;
  absl::Status Upload(int64_t bytes, const Fill& fill, char* to, cudaStream_t stream);
  absl::Status UploadMatrix(const Tensor& tensor, char* to, cudaStream_t stream);

  int threads_;
  bool converts_;
  bool has_type_;
  DType type_;
  std::vector<DeviceWeight> weights_;
  std::array<StagingMemory, 2> halves_;
  int next_half_ = 0;
};

}  // namespace skipstone::cuda
