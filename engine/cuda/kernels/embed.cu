// Embedding rows to the f32 residual.
//
// A block copies one row, a thread eight elements at a time: 16 bytes in, 32 out. The table's row
// is read once and the residual written once: 6 bytes per element. Limits: hidden a multiple of 8.
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/number.cuh"
#include "engine/cuda/kernels/stage_kernels.h"

namespace skipstone::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void EmbedKernel(EmbedArgs args) {
  WaitForPrevious();
  const int row = blockIdx.x;
  if (row >= args.step->num_rows) return;
  int token = args.step->At<int32_t>(args.step->tokens)[row];
  if (token < 0) token = args.slots[args.step->At<int32_t>(args.step->slots)[row]].last_token;
  // A slot that never sampled has no token; the row's result is thrown away then.
  token = min(max(token, 0), args.vocab - 1);
  const T* from = static_cast<const T*>(args.table) + static_cast<int64_t>(token) * args.hidden;
  float* to = args.residual + static_cast<int64_t>(row) * args.hidden;
  for (int i = threadIdx.x * 8; i < args.hidden; i += kThreads * 8) {
    float x[8];
    Unpack8<T>(LoadOnce(from + i), x);
    *reinterpret_cast<float4*>(to + i) = make_float4(x[0], x[1], x[2], x[3]);
    *reinterpret_cast<float4*>(to + i + 4) = make_float4(x[4], x[5], x[6], x[7]);
  }
}

}  // namespace

cudaError_t LaunchEmbed(const EmbedArgs& args, int rows, cudaStream_t stream) {
  const LaunchShape shape{.grid = dim3(rows), .threads = kThreads};
  return args.type == DType::kBF16 ? Launch(EmbedKernel<__nv_bfloat16>, shape, stream, args)
                                   : Launch(EmbedKernel<__half>, shape, stream, args);
}

}  // namespace skipstone::cuda
