// Random matrix elements as a pure function of (seed, index): threads may fill any part, and a
// device makes the same bits with the same functions.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "engine/backend/tensor.h"

namespace skipstone {

struct RandomMatrix {
  DType type = DType::kF32;
  uint64_t seed = 0;
  int64_t inputs = 1;  // columns; the standard deviation is 1 / sqrt(inputs)
};

// Elements that one 64-bit random number makes; a part begins at a multiple of it.
inline constexpr int64_t kRandomBlock = 4;

// The random number of elements [block, block + kRandomBlock) is Mix64(seed + block), and this is
// element `lane` of them, uniform on [-a, a) with the variance a^2 / 3 = 1 / inputs.
constexpr float RandomElement(uint64_t bits, int lane, float scale) {
  return (static_cast<float>(static_cast<int16_t>(bits >> (16 * lane))) + 0.5f) * scale;
}
inline float RandomScale(int64_t inputs) {
  return std::sqrt(3.0f / static_cast<float>(inputs)) / 32768.0f;
}

// Rounds to nearest, ties to even. `value` is finite.
constexpr uint16_t ToBf16Bits(float value) {
  const auto bits = __builtin_bit_cast(uint32_t, value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Rounds to nearest, ties away from zero. |value| is below 2; below the normal range it is 0.
constexpr uint16_t ToF16Bits(float value) {
  const auto bits = __builtin_bit_cast(uint32_t, value);
  const uint32_t magnitude = bits & 0x7fffffff;
  const uint32_t sign = (bits >> 16) & 0x8000;
  constexpr uint32_t kSmallestNormal = 113u << 23;  // 2^-14
  if (magnitude < kSmallestNormal) return static_cast<uint16_t>(sign);
  // The exponent's bias is 127 there and 15 here; 13 bits of the mantissa go.
  return static_cast<uint16_t>(sign | ((magnitude - (112u << 23) + 0x1000) >> 13));
}

// Elements [begin, begin + count) of the matrix.
void FillUniform(const RandomMatrix& matrix, int64_t begin, int64_t count, void* to);

void FillOnes(DType type, int64_t count, void* to);

}  // namespace skipstone
