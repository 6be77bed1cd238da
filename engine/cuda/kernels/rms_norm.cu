// RMSNorm (rms_norm.cuh) of f32 rows to 16 bits.
//
// A block normalises one row. The row is read twice, the second time from the L1 cache: 6 bytes per
// element from and to memory. Limits: hidden a multiple of 8.
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/rms_norm.cuh"
#include "engine/cuda/kernels/stage_kernels.h"

namespace skipstone::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads) RmsNormKernel(RmsNormArgs args) {
  __shared__ float scratch[33];
  WaitForPrevious();
  const RowView rows = args.source.Of(args.step);
  const int i = blockIdx.x;
  if (i >= rows.count) return;
  const int64_t first = static_cast<int64_t>(rows[i]) * args.hidden;
  const float* in = args.residual + first;
  const float scale = RmsScale(in, args.hidden, args.epsilon, scratch);
  auto* out = reinterpret_cast<uint4*>(static_cast<T*>(args.normed) + first);
  for (int j = threadIdx.x; j < args.hidden / 8; j += kThreads) {
    float x[8], w[8];
    Load8(in, j, x);
    Load8(args.weight, j, w);
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] = x[i] * scale * w[i];
    out[j] = Pack8<T>(x);
  }
}

}  // namespace

cudaError_t LaunchRmsNorm(const RmsNormArgs& args, int rows, cudaStream_t stream) {
  const LaunchShape shape{.grid = dim3(rows), .threads = kThreads};
  return args.type == DType::kBF16 ? Launch(RmsNormKernel<__nv_bfloat16>, shape, stream, args)
                                   : Launch(RmsNormKernel<__half>, shape, stream, args);
}

}  // namespace skipstone::cuda
