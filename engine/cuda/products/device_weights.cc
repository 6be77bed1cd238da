#include "engine/cuda/products/device_weights.h"

#include <cuda_fp16.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/backend/random_fill.h"
#include "engine/backend/widen.h"
#include "engine/cuda/device/device_error.h"
#include "engine/cuda/kernels/random_fill.h"

namespace skipstone::cuda {
namespace {

// Long enough that neither a copy's start nor the threads' counts.
constexpr int64_t kHalfBytes = int64_t{64} << 20;
constexpr int64_t kThreadElements = int64_t{1} << 20;  // fewer are not worth a thread

// part(first, count) over all elements, by up to `threads` threads.
void ForParts(int threads, int64_t elements, const std::function<void(int64_t, int64_t)>& part) {
  const int64_t parts = std::clamp<int64_t>(elements / kThreadElements, 1, threads);
  const auto run = [&](int64_t i) {
    const int64_t first = elements * i / parts;
    part(first, elements * (i + 1) / parts - first);
  };
  std::vector<std::thread> helpers;
  for (int64_t i = 1; i < parts; ++i) helpers.emplace_back(run, i);
  run(0);
  for (std::thread& helper : helpers) helper.join();
}

uint16_t Rounded(float value, DType type) {
  if (type == DType::kF16) return __half_as_ushort(__float2half_rn(value));
  return std::isnan(value) ? uint16_t{0x7fff} : ToBf16Bits(value);
}

// Elements from `first` on, rounded to the nearest of `type`. False if a number became infinite.
bool Convert(const Tensor& tensor, int64_t first, int64_t count, DType type, uint16_t* to) {
  bool fits = true;
  for (int64_t i = 0; i < count; ++i) {
    const float value = ElementAt(tensor.data, tensor.type, first + i);
    to[i] = Rounded(value, type);
    fits &= std::isfinite(ElementAt(to, type, i)) || !std::isfinite(value);
  }
  return fits;
}

constexpr int64_t ToEight(int64_t n) { return (n + 7) / 8 * 8; }

// With zeros behind each row.
std::vector<char> Padded(const Tensor& tensor, int64_t cols) {
  const size_t from_bytes = tensor.cols * SizeOf(tensor.type);
  const size_t to_bytes = cols * SizeOf(tensor.type);
  std::vector<char> out(tensor.rows * to_bytes);
  for (int64_t row = 0; row < tensor.rows; ++row) {
    std::memcpy(out.data() + row * to_bytes,
                static_cast<const char*>(tensor.data) + row * from_bytes, from_bytes);
  }
  return out;
}

std::vector<float> ToFloats(const Tensor& tensor) {
  std::vector<float> out(tensor.cols);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = ElementAt(tensor.data, tensor.type, static_cast<int64_t>(i));
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
    if (tensor.cols != group[0].cols || (tensor.type != group[0].type && !converts_)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "matrices of a group must share inputs and type: %s [.., %d] and %s [.., %d]",
          NameOf(group[0].type), group[0].cols, NameOf(tensor.type), tensor.cols));
    }
  }
  const bool vector = group[0].rows == 1 && group.size() == 1;
  const auto random = [](const Tensor& tensor) { return tensor.data == nullptr; };
  if (group[0].cols % 8 != 0 && (vector || absl::c_any_of(group, random))) {
    return absl::UnimplementedError(absl::StrFormat(
        "a weight of %d inputs: the CUDA backend serves multiples of 8", group[0].cols));
  }
  if (vector || converts_) return absl::OkStatus();
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
  weight.cols = static_cast<int>(ToEight(group[0].cols));
  for (const Tensor& tensor : group) weight.rows += static_cast<int>(tensor.rows);
  weight.is_vector = weight.rows == 1;
  const int64_t row_bytes = weight.cols * (weight.is_vector ? sizeof(float) : sizeof(uint16_t));
  const int64_t rows = weight.is_vector ? 1 : ToEight(weight.rows);
  SKIPSTONE_ASSIGN_OR_RETURN(weight.memory, DeviceMemory::Allocate(rows * row_bytes, "weights"));
  char* to = weight.memory.as<char>();
  if (weight.is_vector) {
    const std::vector<float> floats = ToFloats(group[0]);
    const auto copy = [&](int64_t first, int64_t bytes, char* half) {
      std::memcpy(half, reinterpret_cast<const char*>(floats.data()) + first, bytes);
      return absl::OkStatus();
    };
    SKIPSTONE_RETURN_IF_ERROR(Upload(weight.memory.bytes(), copy, to, stream));
  } else {
    if (!converts_) type_ = group[0].type;
    has_type_ = true;
    for (const Tensor& tensor : group) {
      if (tensor.data != nullptr && tensor.cols == weight.cols) {
        SKIPSTONE_RETURN_IF_ERROR(UploadMatrix(tensor, to, stream));
      } else if (tensor.data != nullptr) {
        const std::vector<char> padded = Padded(tensor, weight.cols);
        const Tensor wider{padded.data(), tensor.type, tensor.rows, weight.cols};
        SKIPSTONE_RETURN_IF_ERROR(UploadMatrix(wider, to, stream));
      } else {
        const RandomMatrix matrix{tensor.type, tensor.seed, tensor.cols};
        SKIPSTONE_RETURN_IF_ERROR(ToStatus(
            LaunchRandomFill(matrix, tensor.rows * tensor.cols, to, stream), "random weights"));
      }
      to += tensor.rows * row_bytes;
    }
    SKIPSTONE_RETURN_IF_ERROR(
        ToStatus(cudaMemsetAsync(to, 0, (rows - weight.rows) * row_bytes, stream), "weights"));
  }
  weights_.push_back(std::move(weight));
  return static_cast<int>(weights_.size()) - 1;
}

int64_t DeviceWeights::bytes() const {
  int64_t bytes = 0;
  for (const DeviceWeight& weight : weights_) bytes += weight.memory.bytes();
  return bytes;
}

absl::Status DeviceWeights::UploadMatrix(const Tensor& tensor, char* to, cudaStream_t stream) {
  constexpr int64_t kElement = sizeof(uint16_t);
  const auto fill = [&](int64_t first_byte, int64_t bytes, char* half) -> absl::Status {
    std::atomic<bool> fit = true;
    ForParts(threads_, bytes / kElement, [&](int64_t first, int64_t count) {
      if (tensor.type != type_) {
        if (!Convert(tensor, first_byte / kElement + first, count, type_,
                     reinterpret_cast<uint16_t*>(half) + first)) {
          fit = false;
        }
        return;
      }
      std::memcpy(half + first * kElement,
                  static_cast<const char*>(tensor.data) + first_byte + first * kElement,
                  count * kElement);
    });
    if (fit) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrFormat("a %s matrix of [%d, %d] holds a number that is too large for %s",
                        NameOf(tensor.type), tensor.rows, tensor.cols, NameOf(type_)));
  };
  return Upload(tensor.rows * tensor.cols * kElement, fill, to, stream);
}

absl::Status DeviceWeights::Upload(int64_t bytes, const Fill& fill, char* to, cudaStream_t stream) {
  for (int64_t done = 0; done < bytes;) {
    StagingMemory& half = halves_[next_half_];
    next_half_ = 1 - next_half_;
    if (half.memory.bytes() == 0) {
      SKIPSTONE_ASSIGN_OR_RETURN(half, StagingMemory::Allocate(kHalfBytes, "loading weights"));
    }
    SKIPSTONE_RETURN_IF_ERROR(ToStatus(half.copied.Wait(), "loading weights"));
    const int64_t count = std::min(kHalfBytes, bytes - done);
    SKIPSTONE_RETURN_IF_ERROR(fill(done, count, half.memory.as<char>()));
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
