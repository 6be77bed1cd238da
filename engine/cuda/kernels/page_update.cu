// Changes of the page table, and copies of pages (copy on write).
//
// Updates: a thread writes one entry. Copies: a block copies one page, a thread 16 bytes at a time;
// no page is both source and target of one step.
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

__global__ void PageCopyKernel(PageCopyArgs args) {
  WaitForPrevious();
  const int i = blockIdx.x;
  if (i >= args.step->num_page_copies) return;
  const DevicePageCopy copy = args.step->At<DevicePageCopy>(args.step->page_copies)[i];
  char* pages = static_cast<char*>(args.pages);
  const auto* from = reinterpret_cast<const uint4*>(pages + copy.from * args.page_bytes);
  auto* to = reinterpret_cast<uint4*>(pages + copy.to * args.page_bytes);
  for (int64_t j = threadIdx.x; j < args.page_bytes / 16; j += kThreads) to[j] = from[j];
}

}  // namespace

cudaError_t LaunchPageUpdate(const PageUpdateArgs& args, int updates, cudaStream_t stream) {
  const int blocks = (updates + kThreads - 1) / kThreads;
  return Launch(PageUpdateKernel, {.grid = dim3(blocks), .threads = kThreads}, stream, args);
}

cudaError_t LaunchPageCopy(const PageCopyArgs& args, int copies, cudaStream_t stream) {
  return Launch(PageCopyKernel, {.grid = dim3(copies), .threads = kThreads}, stream, args);
}

}  // namespace skipstone::cuda
