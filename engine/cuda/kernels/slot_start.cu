// A sequence takes its slot: the slot's sampling state is made anew.
//
// A block handles one slot. The slot's rows of the bias table and of the token table are cleared
// and filled only where its parameters need them: 4 bytes per entry of the vocabulary and table.
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/number.cuh"
#include "engine/cuda/kernels/slot_start.h"

namespace skipstone::cuda {
namespace {

constexpr int kThreads = 256;

template <class Apply>
__device__ __forceinline__ void ForEach(const int32_t* words, const WordSpan& span, Apply apply) {
  for (int i = threadIdx.x; i < span.count; i += kThreads) apply(i, words[span.first + i]);
}

__global__ void SlotStartKernel(SlotStartArgs args) {
  WaitForPrevious();
  const SlotRecord& record = static_cast<const SlotRecord*>(args.upload)[blockIdx.x];
  const auto* words = static_cast<const int32_t*>(args.upload);
  const SlotTables& tables = args.tables;
  if (threadIdx.x == 0) tables.slots[record.slot] = record.state;
  float* bias = tables.bias + static_cast<int64_t>(record.slot) * tables.vocab;
  uint32_t* tokens = tables.tokens + static_cast<int64_t>(record.slot) * tables.vocab;
  const bool uses_tokens = record.state.has_penalties || record.state.has_suppressed;
  for (int i = threadIdx.x; i < tables.vocab; i += kThreads) {
    if (record.state.has_bias) bias[i] = 0;
    if (uses_tokens) tokens[i] = 0;
  }
  __syncthreads();
  ForEach(words, record.bias_ids, [&](int i, int32_t id) {
    atomicAdd(&bias[id], __int_as_float(words[record.bias_values.first + i]));
  });
  ForEach(words, record.prompt, [&](int, int32_t id) { atomicOr(&tokens[id], kInPrompt); });
  ForEach(words, record.suppressed, [&](int, int32_t id) { atomicOr(&tokens[id], kSuppressed); });
  ForEach(words, record.output, [&](int, int32_t id) { atomicAdd(&tokens[id], 1u); });
}

}  // namespace

cudaError_t LaunchSlotStart(const SlotStartArgs& args, int records, cudaStream_t stream) {
  return Launch(SlotStartKernel, {.grid = dim3(records), .threads = kThreads}, stream, args);
}

}  // namespace skipstone::cuda
