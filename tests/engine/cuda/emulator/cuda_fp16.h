// Stands in for CUDA's header where kernels run on the host (emulator.h).
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

struct __half {
  uint16_t bits;
};

inline float __half2float(__half x) {
  // The compiler's own conversion is a call of some length.
  static const std::vector<float> table = [] {
    std::vector<float> floats(1 << 16);
    for (uint32_t bits = 0; bits < floats.size(); ++bits) {
      floats[bits] = static_cast<float>(std::bit_cast<_Float16>(static_cast<uint16_t>(bits)));
    }
    return floats;
  }();
  return table[x.bits];
}
inline __half __float2half_rn(float x) {
  return {std::bit_cast<uint16_t>(static_cast<_Float16>(x))};
}
inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
inline unsigned short __half_as_ushort(__half x) { return x.bits; }
