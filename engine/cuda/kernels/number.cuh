// 16-bit numbers, alone, in pairs and eight at a time; and sums over a warp or a block.
#pragma once

#include "engine/cuda/kernels/device_ops.cuh"

namespace skipstone::cuda {

__device__ __forceinline__ float ToFloat(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float ToFloat(__half x) { return __half2float(x); }

template <class T>
__device__ __forceinline__ T FromFloat(float x);
template <>
__device__ __forceinline__ __nv_bfloat16 FromFloat<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ __half FromFloat<__half>(float x) {
  return __float2half_rn(x);
}

// The low half of a word is the number of the lower address.
template <class T>
__device__ __forceinline__ float2 Unpack(uint32_t word);
template <>
__device__ __forceinline__ float2 Unpack<__nv_bfloat16>(uint32_t word) {
  return make_float2(__uint_as_float(word << 16), __uint_as_float(word & 0xffff0000u));
}
template <>
__device__ __forceinline__ float2 Unpack<__half>(uint32_t word) {
  return make_float2(__half2float(__ushort_as_half(static_cast<unsigned short>(word))),
                     __half2float(__ushort_as_half(static_cast<unsigned short>(word >> 16))));
}

__device__ __forceinline__ uint32_t Bits(__nv_bfloat16 x) { return __bfloat16_as_ushort(x); }
__device__ __forceinline__ uint32_t Bits(__half x) { return __half_as_ushort(x); }

template <class T>
__device__ __forceinline__ uint32_t Pack(float low, float high) {
  return Bits(FromFloat<T>(low)) | Bits(FromFloat<T>(high)) << 16;
}

template <class T>
__device__ __forceinline__ void Unpack8(const uint4& v, float (&out)[8]) {
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = Unpack<T>(words[i]);
    out[2 * i] = pair.x;
    out[2 * i + 1] = pair.y;
  }
}

template <class T>
__device__ __forceinline__ uint4 Pack8(const float (&in)[8]) {
  return make_uint4(Pack<T>(in[0], in[1]), Pack<T>(in[2], in[3]), Pack<T>(in[4], in[5]),
                    Pack<T>(in[6], in[7]));
}

constexpr unsigned kAllLanes = 0xffffffffu;

struct Add {
  template <class V>
  __device__ V operator()(V a, V b) const {
    return a + b;
  }
};
struct Max {
  template <class V>
  __device__ V operator()(V a, V b) const {
    return a < b ? b : a;
  }
};

// The same value in all lanes.
template <class V, class Op>
__device__ __forceinline__ V WarpReduce(V v, Op op) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) v = op(v, __shfl_xor_sync(kAllLanes, v, offset));
  return v;
}

// The same value in all threads of the block, reduced in one fixed order. `scratch` holds 33 values
// and is free again after the call.
template <class V, class Op>
__device__ V BlockReduce(V v, V none, Op op, V* scratch) {
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  v = WarpReduce(v, op);
  if (lane == 0) scratch[warp] = v;
  __syncthreads();
  if (warp == 0) {
    v = WarpReduce(lane < static_cast<int>(blockDim.x / 32) ? scratch[lane] : none, op);
    if (lane == 0) scratch[32] = v;
  }
  __syncthreads();
  v = scratch[32];
  __syncthreads();
  return v;
}

}  // namespace skipstone::cuda
