#include "engine/model/random_fill.h"

#include <bit>
#include <cmath>

#include "engine/base/check.h"
#include "engine/base/hash.h"

namespace skipstone {
namespace {

// Rounds to nearest, ties to even. `value` is finite.
uint16_t ToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Rounds to nearest, ties away from zero. |value| is below 2; below the normal range it is 0.
uint16_t ToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffff;
  const uint32_t sign = (bits >> 16) & 0x8000;
  constexpr uint32_t kSmallestNormal = 113u << 23;  // 2^-14
  if (magnitude < kSmallestNormal) return static_cast<uint16_t>(sign);
  // The exponent's bias is 127 there and 15 here; 13 bits of the mantissa go.
  return static_cast<uint16_t>(sign | ((magnitude - (112u << 23) + 0x1000) >> 13));
}

template <typename T, typename Convert>
void Fill(const RandomMatrix& matrix, int64_t begin, int64_t count, T* to, Convert convert) {
  // Uniform on [-a, a) has the variance a^2 / 3.
  const float scale = std::sqrt(3.0f / static_cast<float>(matrix.inputs)) / 32768.0f;
  for (int64_t i = 0; i < count; i += kRandomBlock) {
    const uint64_t bits = Mix64(matrix.seed + static_cast<uint64_t>(begin + i));
    for (int64_t k = 0; k < kRandomBlock && i + k < count; ++k) {
      const auto lane = static_cast<int16_t>(bits >> (16 * k));
      to[i + k] = convert((static_cast<float>(lane) + 0.5f) * scale);
    }
  }
}

template <typename T>
void FillWith(T value, int64_t count, void* to) {
  for (int64_t i = 0; i < count; ++i) static_cast<T*>(to)[i] = value;
}

}  // namespace

void FillUniform(const RandomMatrix& matrix, int64_t begin, int64_t count, void* to) {
  SKIPSTONE_CHECK(begin % kRandomBlock == 0);
  switch (matrix.type) {
    case DType::kF32:
      return Fill(matrix, begin, count, static_cast<float*>(to), [](float value) { return value; });
    case DType::kF16:
      return Fill(matrix, begin, count, static_cast<uint16_t*>(to), ToF16);
    case DType::kBF16:
      return Fill(matrix, begin, count, static_cast<uint16_t*>(to), ToBf16);
  }
}

void FillOnes(DType type, int64_t count, void* to) {
  if (type == DType::kF32) return FillWith(1.0f, count, to);
  FillWith<uint16_t>(type == DType::kF16 ? 0x3c00 : 0x3f80, count, to);
}

}  // namespace skipstone
