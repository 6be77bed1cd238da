// Reads a buffer and nothing else: what no kernel that needs its input can exceed.
//
// Reading: the blocks take turns at tiles of kThreads * kLoads * 16 bytes; of each, a thread has
// kLoads loads in flight, a warp reads 512 bytes at once. 4 bytes are written per warp.
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/number.cuh"
#include "engine/cuda/kernels/read_stream.h"

namespace skipstone::cuda {
namespace {

constexpr int kThreads = 32 * kReadStreamWarps;

__device__ __forceinline__ uint32_t SumOf(uint4 v) { return v.x + v.y + v.z + v.w; }

// Without a bound on its blocks, the compiler saves registers and has four loads in flight.
template <int kLoads>
__global__ void __launch_bounds__(kThreads, ReadStreamResident(kLoads))
    ReadStreamKernel(ReadStreamArgs args) {
  WaitForPrevious();
  constexpr int kTile = kThreads * kLoads;
  const auto* from = static_cast<const uint4*>(args.from);
  const int64_t count = args.bytes / 16;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kTile;
  int64_t i = static_cast<int64_t>(blockIdx.x) * kTile + threadIdx.x;
  uint32_t sum = 0;
  for (; i + (kLoads - 1) * kThreads < count; i += stride) {
    uint4 v[kLoads];
#pragma unroll
    for (int j = 0; j < kLoads; ++j) v[j] = LoadStreaming(from + i + j * kThreads);
#pragma unroll
    for (int j = 0; j < kLoads; ++j) sum += SumOf(v[j]);
  }
  // What is left is less than the loads of one turn.
#pragma unroll 1
  for (; i < count; i += kThreads) sum += SumOf(LoadStreaming(from + i));
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(0xffffffff, sum, mask);
  if (threadIdx.x % 32 == 0) args.sums[blockIdx.x * kReadStreamWarps + threadIdx.x / 32] = sum;
}

}  // namespace

cudaError_t LaunchReadStream(const ReadStreamArgs& args, int loads, int blocks,
                             cudaStream_t stream) {
  const LaunchShape shape{.grid = dim3(blocks), .threads = kThreads};
  switch (loads) {
    case 4:
      return Launch(ReadStreamKernel<4>, shape, stream, args);
    case 8:
      return Launch(ReadStreamKernel<8>, shape, stream, args);
    case 16:
      return Launch(ReadStreamKernel<16>, shape, stream, args);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace skipstone::cuda
