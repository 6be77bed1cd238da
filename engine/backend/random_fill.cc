#include "engine/backend/random_fill.h"

#include <algorithm>

#include "base/check.h"
#include "base/hash.h"

namespace skipstone {
namespace {

template <typename T, typename Convert>
void Fill(const RandomMatrix& matrix, int64_t begin, int64_t count, T* to, Convert convert) {
  const float scale = RandomScale(matrix.inputs);
  for (int64_t i = 0; i < count; i += kRandomBlock) {
    const uint64_t bits = Mix64(matrix.seed + static_cast<uint64_t>(begin + i));
    for (int64_t k = 0; k < kRandomBlock && i + k < count; ++k) {
      to[i + k] = convert(RandomElement(bits, static_cast<int>(k), scale));
    }
  }
}

}  // namespace

void FillUniform(const RandomMatrix& matrix, int64_t begin, int64_t count, void* to) {
  SKIPSTONE_CHECK(begin % kRandomBlock == 0);
  switch (matrix.type) {
    case DType::kF32:
      return Fill(matrix, begin, count, static_cast<float*>(to), [](float value) { return value; });
    case DType::kF16:
      return Fill(matrix, begin, count, static_cast<uint16_t*>(to), ToF16Bits);
    case DType::kBF16:
      return Fill(matrix, begin, count, static_cast<uint16_t*>(to), ToBf16Bits);
  }
}

void FillOnes(DType type, int64_t count, void* to) {
  if (type == DType::kF32) {
    std::fill_n(static_cast<float*>(to), count, 1.0f);
  } else {
    std::fill_n(static_cast<uint16_t*>(to), count, type == DType::kF16 ? 0x3c00 : 0x3f80);
  }
}

}  // namespace skipstone
