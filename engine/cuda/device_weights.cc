#include "engine/cuda/device_weights.h"

#include <cuda_fp16.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/cuda/device_error.h"
#include "engine/cuda/kernels/random_fill.h"

namespace skipstone::cuda {
namespace {

// Long enough that neither a copy's start nor the threads' counts.
constexpr int64_t kHalfBytes = int64_t{64} << 20;
constexpr int64_t kThreadBytes = int64_t{2} << 20;  // less is not worth a thread

// memcpy by up to `threads` threads.
void CopyBy(int threads, const char* from, int64_t bytes, char* to) {
  const int64_t parts = std::clamp<int64_t>(bytes / kThreadBytes, 1, threads);
  const auto copy = [&](int64_t part) {
    const int64_t first = bytes * part / parts;
    std::memcpy(to + first, from + first, bytes * (part + 1) / parts - first);
  };
  std::vector<std::thread> helpers;
  for (int64_t part = 1; part < parts; ++part) helpers.emplace_back(copy, part);
  copy(0);
  for (std::thread& helper : helpers) helper.join();
}

std::vector<float> ToFloats(const Tensor& tensor) {
  std::vector<float> out(tensor.cols);
  for (size_t i = 0; i < out.size(); ++i) {
    if (tensor.type == DType::kF32) {
      std::memcpy(&out[i], static_cast<const float*>(tensor.data) + i, sizeof(float));
      continue;
    }
    uint16_t half;
    std::memcpy(&half, static_cast<const uint16_t*>(tensor.data) + i, sizeof(half));
    if (tensor.type == DType::kBF16) {
      const uint32_t bits = uint32_t{half} << 16;
      std::memcpy(&out[i], &bits, sizeof(bits));
    } else {
      out[i] = __half2float(__ushort_as_half(half));
    }
  }
  return out;
}

}  // namespace

absl::Status DeviceWeights::Check(std::span<const Tensor> group) const {
  if (group.empty()) return absl::InvalidArgumentError("a weight group must not be empty");
  for (const Tensor& tensor : group) {
    const bool random = tensor.seed != 0 && group[0].rows > 1;
    if ((tensor.data == nullptr && !random) || tensor.rows < 1 || tensor.cols < 1) {
      return absl::InvalidArgumentError(
          absl::StrFormat("a weight of shape [%d, %d] is empty", tensor.rows, tensor.cols));
    }
    if (tensor.cols != group[0].cols || tensor.type != group[0].type) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "matrices of a group must share inputs and type: %s [.., %d] and %s [.., %d]",
          NameOf(group[0].type), group[0].cols, NameOf(tensor.type), tensor.cols));
    }
  }
  if (group[0].cols % 8 != 0) {
    return absl::UnimplementedError(absl::StrFormat(
        "a matrix of %d inputs: the CUDA backend serves multiples of 8", group[0].cols));
  }
  if (group[0].rows == 1 && group.size() == 1) return absl::OkStatus();
  if (group[0].type == DType::kF32) {
    return absl::UnimplementedError("f32 weights: the CUDA backend serves bf16 and f16");
  }
  if (has_type_ && group[0].type != type_) {
    return absl::UnimplementedError(
        absl::StrFormat("weights of type %s beside %s: the CUDA backend serves one type per model",
                        NameOf(group[0].type), NameOf(type_)));
  }
  return absl::OkStatus();
}

absl::StatusOr<int> DeviceWeights::Add(std::span<const Tensor> group, cudaStream_t stream) {
  SKIPSTONE_RETURN_IF_ERROR(Check(group));
  DeviceWeight weight;
  weight.cols = static_cast<int>(group[0].cols);
  for (const Tensor& tensor : group) weight.rows += static_cast<int>(tensor.rows);
  weight.is_vector = weight.rows == 1;
  const int64_t element = weight.is_vector ? sizeof(float) : SizeOf(group[0].type);
  SKIPSTONE_ASSIGN_OR_RETURN(
      weight.memory,
      DeviceMemory::Allocate(int64_t{weight.rows} * weight.cols * element, "weights"));
  char* to = weight.memory.as<char>();
  if (weight.is_vector) {
    const std::vector<float> floats = ToFloats(group[0]);
    SKIPSTONE_RETURN_IF_ERROR(Upload(floats.data(), weight.memory.bytes(), to, stream));
  } else {
    has_type_ = true;
    type_ = group[0].type;
    for (const Tensor& tensor : group) {
      const auto bytes = static_cast<int64_t>(tensor.bytes());
      if (tensor.data != nullptr) {
        SKIPSTONE_RETURN_IF_ERROR(Upload(tensor.data, bytes, to, stream));
      } else {
        const RandomMatrix matrix{tensor.type, tensor.seed, tensor.cols};
        SKIPSTONE_RETURN_IF_ERROR(ToStatus(
            LaunchRandomFill(matrix, tensor.rows * tensor.cols, to, stream), "random weights"));
      }
      to += bytes;
    }
  }
  weights_.push_back(std::move(weight));
  return static_cast<int>(weights_.size()) - 1;
}

int64_t DeviceWeights::bytes() const {
  int64_t bytes = 0;
  for (const DeviceWeight& weight : weights_) bytes += weight.memory.bytes();
  return bytes;
}

absl::Status DeviceWeights::Upload(const void* from, int64_t bytes, char* to, cudaStream_t stream) {
  for (int64_t done = 0; done < bytes;) {
    StagingMemory& half = halves_[next_half_];
    next_half_ = 1 - next_half_;
    if (half.memory.bytes() == 0) {
      SKIPSTONE_ASSIGN_OR_RETURN(half, StagingMemory::Allocate(kHalfBytes, "loading weights"));
    }
    SKIPSTONE_RETURN_IF_ERROR(ToStatus(half.copied.Wait(), "loading weights"));
    const int64_t count = std::min(kHalfBytes, bytes - done);
    CopyBy(threads_, static_cast<const char*>(from) + done, count, half.memory.as<char>());
    SKIPSTONE_RETURN_IF_ERROR(ToStatus(
        cudaMemcpyAsync(to + done, half.memory.as<char>(), count, cudaMemcpyHostToDevice, stream),
        "loading weights"));
    SKIPSTONE_RETURN_IF_ERROR(ToStatus(half.copied.Record(stream), "loading weights"));
    done += count;
  }
  return absl::OkStatus();
}

absl::Status DeviceWeights::Finish(cudaStream_t stream) {
  SKIPSTONE_RETURN_IF_ERROR(ToStatus(cudaStreamSynchronize(stream), "loading weights"));
  halves_ = {};
  return absl::OkStatus();
}

}  // namespace skipstone::cuda
