// Random matrices where they are needed, without the host's cores and a copy.
//
// A thread makes eight elements of two random numbers and stores 16 bytes. Limits: 16-bit elements,
// a multiple of 8 of them.
#include "base/hash.h"
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/number.cuh"
#include "engine/cuda/kernels/random_fill.h"

namespace skipstone::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kElements = 8;  // of a thread

struct FillArgs {
  uint64_t seed;
  float scale;
  int64_t elements;
  uint4* to;
};

template <DType type>
__device__ uint32_t RandomBits(uint64_t bits, int lane, float scale) {
  const float value = RandomElement(bits, lane, scale);
  return type == DType::kBF16 ? ToBf16Bits(value) : ToF16Bits(value);
}

template <DType type>
__global__ void RandomFillKernel(FillArgs args) {
  WaitForPrevious();
  const int64_t vector = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t first = vector * kElements;
  if (first >= args.elements) return;
  uint32_t words[kElements / 2];
#pragma unroll
  for (int i = 0; i < kElements / 2; ++i) {
    const int64_t block = first + 2 * i / kRandomBlock * kRandomBlock;
    const uint64_t bits = Mix64(args.seed + static_cast<uint64_t>(block));
    const int lane = 2 * i % kRandomBlock;
    words[i] = RandomBits<type>(bits, lane, args.scale) |
               RandomBits<type>(bits, lane + 1, args.scale) << 16;
  }
  args.to[vector] = make_uint4(words[0], words[1], words[2], words[3]);
}

}  // namespace

cudaError_t LaunchRandomFill(const RandomMatrix& matrix, int64_t elements, void* to,
                             cudaStream_t stream) {
  const FillArgs args{matrix.seed, RandomScale(matrix.inputs), elements, static_cast<uint4*>(to)};
  constexpr int64_t kBlock = int64_t{kThreads} * kElements;
  const LaunchShape shape{.grid = dim3(static_cast<unsigned>((elements + kBlock - 1) / kBlock)),
                          .threads = kThreads};
  return matrix.type == DType::kBF16 ? Launch(RandomFillKernel<DType::kBF16>, shape, stream, args)
                                     : Launch(RandomFillKernel<DType::kF16>, shape, stream, args);
}

}  // namespace skipstone::cuda
