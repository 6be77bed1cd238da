// RMSNorm (Zhang and Sennrich 2019) of an f32 row, by one block: a thread takes eight elements at a
// time. Limits: the row's length is a multiple of 8.
#pragma once

#include "engine/cuda/kernels/number.cuh"

namespace skipstone::cuda {

// Elements 8 i .. 8 i + 7.
__device__ __forceinline__ void Load8(const float* from, int i, float (&out)[8]) {
  const float4 low = reinterpret_cast<const float4*>(from)[2 * i];
  const float4 high = reinterpret_cast<const float4*>(from)[2 * i + 1];
  out[0] = low.x, out[1] = low.y, out[2] = low.z, out[3] = low.w;
  out[4] = high.x, out[5] = high.y, out[6] = high.z, out[7] = high.w;
}

// What all elements are multiplied by, in all threads. `scratch` as BlockReduce's.
__device__ inline float RmsScale(const float* row, int length, float epsilon, float* scratch) {
  float squares = 0;
  for (int i = threadIdx.x; i < length / 4; i += blockDim.x) {
    const float4 x = reinterpret_cast<const float4*>(row)[i];
    squares += x.x * x.x + x.y * x.y + x.z * x.z + x.w * x.w;
  }
  squares = BlockReduce(squares, 0.0f, Add(), scratch);
  // Where the squares overflow the scale would be 0, and the row zeros that look like a result: it
  // becomes NaN.
  return 1.0f / sqrtf(squares / length + epsilon) + (squares - squares);
}

}  // namespace skipstone::cuda
