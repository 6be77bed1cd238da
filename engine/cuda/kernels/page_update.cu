// Changes of the page table: a thread writes one entry.
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/number.cuh"
#include "engine/cuda/kernels/stage_kernels.h"

namespace skipstone::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void PageUpdateKernel(const StepHeader* step, PagesView pages) {
  WaitForPrevious();
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i >= step->num_page_updates) return;
  const DevicePageUpdate u = step->At<DevicePageUpdate>(step->page_updates)[i];
  pages
      .table[(static_cast<int64_t>(u.slot) * pages.num_layers + u.layer) * pages.blocks + u.block] =
      u.page;
}

}  // namespace

cudaError_t LaunchPageUpdate(const StepHeader* step, const PagesView& pages, int updates,
                             cudaStream_t stream) {
  const int blocks = (updates + kThreads - 1) / kThreads;
  return Launch(PageUpdateKernel, {.grid = dim3(blocks), .threads = kThreads}, stream, step, pages);
}

}  // namespace skipstone::cuda
