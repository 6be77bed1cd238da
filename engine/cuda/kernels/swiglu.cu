// The gated activation of the MLP (Shazeer 2020), for products that were not made by the skinny
// kernel, which fuses it.
//
// A block handles kThreads * 8 elements of one row, a thread eight: 4 bytes in and 2 out per
// element. Limits: ffn a multiple of 8.
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/number.cuh"
#include "engine/cuda/kernels/stage_kernels.h"

namespace skipstone::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void SwiGluKernel(SwiGluArgs args) {
  WaitForPrevious();
  const RowView rows = args.source.Of(args.step);
  const int j = (blockIdx.y * kThreads + threadIdx.x) * 8;
  if (static_cast<int>(blockIdx.x) >= rows.count || j >= args.ffn) return;
  const int64_t row = rows[blockIdx.x];
  const T* in = static_cast<const T*>(args.gate_up) + row * 2 * args.ffn + j;
  float gate[8];
  float up[8];
  Unpack8<T>(*reinterpret_cast<const uint4*>(in), gate);
  Unpack8<T>(*reinterpret_cast<const uint4*>(in + args.ffn), up);
#pragma unroll
  for (int i = 0; i < 8; ++i) gate[i] = gate[i] / (1.0f + __expf(-gate[i])) * up[i];
  *reinterpret_cast<uint4*>(static_cast<T*>(args.gated) + row * args.ffn + j) = Pack8<T>(gate);
}

}  // namespace

cudaError_t LaunchSwiGlu(const SwiGluArgs& args, int rows, cudaStream_t stream) {
  constexpr int kBlock = kThreads * 8;
  const LaunchShape shape{.grid = dim3(rows, (args.ffn + kBlock - 1) / kBlock),
                          .threads = kThreads};
  return args.type == DType::kBF16 ? Launch(SwiGluKernel<__nv_bfloat16>, shape, stream, args)
                                   : Launch(SwiGluKernel<__half>, shape, stream, args);
}

}  // namespace skipstone::cuda
