// Random matrix elements as a pure function of (seed, index), so that threads may fill any part.
#pragma once

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

// Elements [begin, begin + count) of the matrix, uniform on a symmetric interval.
void FillUniform(const RandomMatrix& matrix, int64_t begin, int64_t count, void* to);

void FillOnes(DType type, int64_t count, void* to);

}  // namespace skipstone
