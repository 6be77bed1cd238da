// A non-owning view of a dense row-major matrix in host memory, as a checkpoint stores it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace skipstone {

enum class DType { kF32, kF16, kBF16 };

constexpr size_t SizeOf(DType type) { return type == DType::kF32 ? 4 : 2; }

constexpr const char* NameOf(DType type) {
  return type == DType::kF32 ? "f32" : type == DType::kF16 ? "f16" : "bf16";
}

// [rows, cols]; a vector is [1, cols]. A weight matrix is [outputs, inputs].
struct Tensor {
  const void* data = nullptr;
  DType type = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  // Without data: the seed of a random matrix (random_fill.h), which the backend makes itself.
  uint64_t seed = 0;

  size_t bytes() const { return static_cast<size_t>(rows) * cols * SizeOf(type); }
};

}  // namespace skipstone
