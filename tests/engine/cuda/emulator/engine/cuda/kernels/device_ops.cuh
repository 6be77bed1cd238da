// Stands in for the file of the same name where kernels run on the host (emulator.h).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace skipstone::cuda {

inline void WaitForPrevious() {}

inline uint4 LoadOnce(const void* from) { return *static_cast<const uint4*>(from); }
inline uint4 LoadStreaming(const void* from) { return *static_cast<const uint4*>(from); }

inline void CopyAsync(void* to_shared, const void* from, bool valid) {
  emulator::CopyAsync(to_shared, from, valid);
}
inline void CommitCopies() { emulator::CommitCopies(); }
template <int kPending>
void WaitForCopies() {
  emulator::WaitForCopies(kPending);
}

inline void LoadMatricesTransposed(uint32_t (&out)[4], const void* row) {
  const emulator::ExchangeSlot* rows = emulator::Exchange(&row, sizeof(row));
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint32_t halves[2];
    for (int i = 0; i < 2; ++i) {
      const uint16_t* elements;
      std::memcpy(&elements, rows[8 * matrix + 2 * (lane % 4) + i].bytes, sizeof(elements));
      halves[i] = elements[lane / 4];
    }
    out[matrix] = halves[0] | halves[1] << 16;
  }
}

inline float HalfOf(__nv_bfloat16, uint32_t word, int i) {
  return __bfloat162float({static_cast<uint16_t>(word >> (16 * i))});
}
inline float HalfOf(__half, uint32_t word, int i) {
  return __half2float({static_cast<uint16_t>(word >> (16 * i))});
}

struct Operands {
  uint32_t a[4];
  uint32_t b[2];
};

template <class T>
void MultiplyAdd(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const Operands own = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const emulator::ExchangeSlot* slots = emulator::Exchange(&own, sizeof(own));
  const auto of = [&](int lane) {
    Operands operands;
    std::memcpy(&operands, slots[lane].bytes, sizeof(operands));
    return operands;
  };
  const int g = static_cast<int>(threadIdx.x % 32) / 4;
  const int t = static_cast<int>(threadIdx.x % 4);
  for (int from = 0; from < 4; ++from) {
    const Operands row = of(4 * g + from);
    for (int column = 0; column < 2; ++column) {
      const Operands other = of(4 * (2 * t + column) + from);
      for (int k = 0; k < 4; ++k) {  // inputs 2 from, 2 from + 1, and both + 8
        const float x = HalfOf(T(), other.b[k / 2], k % 2);
        c[column] += HalfOf(T(), row.a[k / 2 * 2], k % 2) * x;
        c[column + 2] += HalfOf(T(), row.a[k / 2 * 2 + 1], k % 2) * x;
      }
    }
  }
}

}  // namespace skipstone::cuda
