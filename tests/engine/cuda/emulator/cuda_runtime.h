// Stands in for CUDA's header where kernels run on the host (emulator.h).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>

#include "cuda_runtime_api.h"
#include "emulator.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// One block runs at a time.
#define __shared__ static

extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;

// ---- launching ----

enum cudaLaunchAttributeID { cudaLaunchAttributeProgrammaticStreamSerialization = 6 };
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  struct {
    int programmaticStreamSerializationAllowed;
  } val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

namespace skipstone::emulator {
void Enqueue(cudaStream_t stream, std::function<void()> work);
void NoteLaunch(cudaStream_t stream, const void* kernel);
void RunGrid(dim3 grid, dim3 block, const std::function<void()>& body);
}  // namespace skipstone::emulator

template <class... Params, class... Args>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Params...),
                               Args... args) {
  skipstone::emulator::NoteLaunch(config->stream, reinterpret_cast<const void*>(kernel));
  skipstone::emulator::Enqueue(
      config->stream, [grid = config->gridDim, block = config->blockDim, kernel, args...] {
        skipstone::emulator::RunGrid(grid, block, [&] { kernel(args...); });
      });
  return cudaSuccess;
}

// ---- what kernels call ----

using std::max;
using std::min;

inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __expf(float x) { return std::exp(x); }
inline uint64_t __umul64hi(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline void __syncthreads() { skipstone::emulator::SyncThreads(); }
inline void __threadfence() {}

template <class V>
V __ldcg(const V* from) {
  return *from;
}
template <class V>
V atomicAdd(V* to, V value) {
  const V before = *to;
  *to += value;
  return before;
}
inline unsigned atomicOr(unsigned* to, unsigned value) {
  const unsigned before = *to;
  *to |= value;
  return before;
}

template <class V>
V skipstone_shuffle(V value, int from) {
  V out;
  std::memcpy(&out, skipstone::emulator::Exchange(&value, sizeof(value))[from].bytes, sizeof(out));
  return out;
}
template <class V>
V __shfl_xor_sync(unsigned, V value, int mask) {
  return skipstone_shuffle(value, static_cast<int>(threadIdx.x % 32) ^ mask);
}
template <class V>
V __shfl_up_sync(unsigned, V value, int delta) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  return skipstone_shuffle(value, lane >= delta ? lane - delta : lane);
}
