// 16-bit numbers as f32, exactly.
#pragma once

#include <cstdint>
#include <cstring>

#include "engine/backend/tensor.h"

namespace skipstone {

constexpr float WidenBf16(uint16_t bits) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16);
}

constexpr float WidenF16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t magnitude = bits & 0x7fff;
  // Below the normal range the mantissa counts units of 2^-24.
  if (magnitude < 0x400) {
    const float value = static_cast<float>(magnitude) * 0x1p-24f;
    return sign != 0 ? -value : value;
  }
  // The exponent's bias is 15 there and 127 here; infinity and NaN have all its bits.
  const uint32_t bias = magnitude < 0x7c00 ? 112u << 23 : 224u << 23;
  return __builtin_bit_cast(float, sign | ((magnitude << 13) + bias));
}

// Element i of `data`.
inline float ElementAt(const void* data, DType type, int64_t i) {
  if (type == DType::kF32) {
    float value;
    std::memcpy(&value, static_cast<const float*>(data) + i, sizeof(value));
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, static_cast<const uint16_t*>(data) + i, sizeof(bits));
  return type == DType::kBF16 ? WidenBf16(bits) : WidenF16(bits);
}

}  // namespace skipstone
