// RMSNorm (Zhang and Sennrich 2019) of f32 rows to 16 bits.
//
// A block normalises one row, a thread eight elements at a time. The row is read twice, the second
// time from the L1 cache: 6 bytes per element from and to memory. Limits: hidden a multiple of 8.
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/number.cuh"
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
  const auto* in = reinterpret_cast<const float4*>(args.residual + first);
  float squares = 0;
  for (int j = threadIdx.x; j < args.hidden / 4; j += kThreads) {
    const float4 x = in[j];
    squares += x.x * x.x + x.y * x.y + x.z * x.z + x.w * x.w;
  }
  squares = BlockReduce(squares, 0.0f, Add(), scratch);
  // Where the squares overflow the scale would be 0, and the row zeros that look like a result: it
  // becomes NaN.
  const float scale = 1.0f / sqrtf(squares / args.hidden + args.epsilon) + (squares - squares);
  const auto* weight = reinterpret_cast<const float4*>(args.weight);
  auto* out = reinterpret_cast<uint4*>(static_cast<T*>(args.normed) + first);
  for (int j = threadIdx.x; j < args.hidden / 8; j += kThreads) {
    const float4 x[2] = {in[2 * j], in[2 * j + 1]};
    const float4 w[2] = {weight[2 * j], weight[2 * j + 1]};
    const float y[8] = {x[0].x * scale * w[0].x, x[0].y * scale * w[0].y, x[0].z * scale * w[0].z,
                        x[0].w * scale * w[0].w, x[1].x * scale * w[1].x, x[1].y * scale * w[1].y,
                        x[1].z * scale * w[1].z, x[1].w * scale * w[1].w};
    out[j] = Pack8<T>(y);
  }
}

}  // namespace

cudaError_t LaunchRmsNorm(const RmsNormArgs& args, int rows, cudaStream_t stream) {
  const LaunchShape shape{.grid = dim3(rows), .threads = kThreads};
  return args.type == DType::kBF16 ? Launch(RmsNormKernel<__nv_bfloat16>, shape, stream, args)
                                   : Launch(RmsNormKernel<__half>, shape, stream, args);
}

}  // namespace skipstone::cuda
