// Gathers and scatters rows of index lists.
//
// A block moves one row, a thread 16 bytes at a time. Gather and scatter: 4 bytes per element;
// scatter-add: 12. Limits: widths and strides are multiples of 8 elements.
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/number.cuh"
#include "engine/cuda/kernels/row_copy.h"

namespace skipstone::cuda {
namespace {

constexpr int kThreads = 256;

template <bool kGather>
__global__ void RowCopyKernel(RowCopyArgs args) {
  WaitForPrevious();
  const RowView rows = args.source.Of(args.step);
  const int i = blockIdx.x;
  if (i >= rows.count) return;
  const int64_t from_row = kGather ? rows[i] : i;
  const int64_t to_row = kGather ? i : rows[i];
  const auto* from = reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(args.from) +
                                                    from_row * args.from_stride);
  auto* to = reinterpret_cast<uint4*>(static_cast<uint16_t*>(args.to) + to_row * args.to_stride);
  for (int j = threadIdx.x; j < args.width / 8; j += kThreads) to[j] = from[j];
}

__global__ void ScatterAddKernel(RowCopyArgs args) {
  WaitForPrevious();
  const RowView rows = args.source.Of(args.step);
  const int i = blockIdx.x;
  if (i >= rows.count) return;
  const auto* from = reinterpret_cast<const float4*>(static_cast<const float*>(args.from) +
                                                     static_cast<int64_t>(i) * args.from_stride);
  auto* to = reinterpret_cast<float4*>(static_cast<float*>(args.to) +
                                       static_cast<int64_t>(rows[i]) * args.to_stride);
  for (int j = threadIdx.x; j < args.width / 4; j += kThreads) {
    const float4 a = to[j];
    const float4 b = from[j];
    to[j] = make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
  }
}

}  // namespace

cudaError_t LaunchGatherRows(const RowCopyArgs& args, int rows, cudaStream_t stream) {
  return Launch(RowCopyKernel<true>, {.grid = dim3(rows), .threads = kThreads}, stream, args);
}

cudaError_t LaunchScatterRows(const RowCopyArgs& args, int rows, cudaStream_t stream) {
  return Launch(RowCopyKernel<false>, {.grid = dim3(rows), .threads = kThreads}, stream, args);
}

cudaError_t LaunchScatterAdd(const RowCopyArgs& args, int rows, cudaStream_t stream) {
  return Launch(ScatterAddKernel, {.grid = dim3(rows), .threads = kThreads}, stream, args);
}

}  // namespace skipstone::cuda
