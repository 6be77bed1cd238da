// Changes of the page table: a thread writes one entry.
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/number.cuh"
#include "engine/cuda/kernels/page_update.h"

namespace skipstone::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void PageUpdateKernel(PageUpdateArgs args) {
  WaitForPrevious();
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= args.step->num_page_updates) return;
  const DevicePageUpdate u = args.step->At<DevicePageUpdate>(args.step->page_updates)[i];
  args.table[(static_cast<int64_t>(u.slot) * args.num_layers + u.layer) * args.blocks + u.block] =
      u.page;
}

}  // namespace

cudaError_t LaunchPageUpdate(const PageUpdateArgs& args, int updates, cudaStream_t stream) {
  const int blocks = (updates + kThreads - 1) / kThreads;
  return Launch(PageUpdateKernel, {.grid = dim3(blocks), .threads = kThreads}, stream, args);
}

}  // namespace skipstone::cuda
