// The kernels that the stages of a step launch beside the products (skinny_matmul.h, row_copy.h).
// A launcher takes what does not change from step to step, and bounds of what does: `rows` of those
// that it covers.
#pragma once

#include <cuda_runtime.h>

#include "engine/cuda/kernels/device_step.h"
#include "engine/cuda/kernels/kernel_inputs.h"

namespace skipstone::cuda {

// Takes the step's updates into the page table.
cudaError_t LaunchPageUpdate(const StepHeader* step, const PagesView& pages, int updates,
                             cudaStream_t stream);

// residual[r] = table[token of r]; kSampledToken stands for what the row's slot sampled last.
struct EmbedArgs {
  const StepHeader* step;
  const SlotSampling* slots;
  const void* table;  // [vocab, hidden] of `type`
  DType type;
  int vocab;
  int hidden;       // multiple of 8
  float* residual;  // [row][hidden]
};
cudaError_t LaunchEmbed(const EmbedArgs& args, int rows, cudaStream_t stream);

// normed[r] = residual[r] / sqrt(mean(residual[r]^2) + epsilon) * weight for the rows of `source`.
struct RmsNormArgs {
  const StepHeader* step;
  RowSource source;
  const float* residual;  // [row][hidden]
  const float* weight;    // [hidden]
  float epsilon;
  int hidden;    // multiple of 8
  DType type;    // of normed
  void* normed;  // [row][hidden]
};
cudaError_t LaunchRmsNorm(const RmsNormArgs& args, int rows, cudaStream_t stream);

// Queries of query_rows are rotated in place; keys of kv_rows are rotated into their page, values
// copied.
struct RopeStoreArgs {
  const StepHeader* step;
  int layer;
  HeadShape heads;
  PagesView pages;
  const float2* rope;  // [position][head_dim / 2], cosine and sine
  DType type;
  void* qkv;  // [row][q, k, v]
};
cudaError_t LaunchRopeStore(const RopeStoreArgs& args, int query_rows, int kv_rows,
                            cudaStream_t stream);

// attended[row] = softmax(q K^T / sqrt(head_dim)) V over the positions of the row's slot up to its
// own, but for the gap that its window leaves behind the sink: of that neither page table entries
// nor pages are read.
struct AttentionArgs {
  const StepHeader* step;
  int layer;
  HeadShape heads;
  PagesView pages;
  DType type;
  const void* qkv;  // [row][q, k, v], q rotated
  void* attended;   // [row][q_size]
  // Of decode rows whose positions are split: [partial][head][head_dim], and {maximum, sum}
  // [partial][head].
  float* partial_values;
  float2* partial_states;
  int32_t* arrived;  // [partial][head], zero before and after
};
// For the decode items of the layer. `items` bounds them.
cudaError_t LaunchDecodeAttention(const AttentionArgs& args, int items, cudaStream_t stream);
// For the prefill tiles that meet the layer's query_rows, from the first of those rows to the last.
// Rows between that are not in the list have their keys read and get a result that nobody reads.
// `tiles` bounds the step's.
cudaError_t LaunchPrefillAttention(const AttentionArgs& args, int tiles, cudaStream_t stream);

// gated[r] = silu(gate[r]) * up[r] for the rows of `source`.
struct SwiGluArgs {
  const StepHeader* step;
  RowSource source;
  const void* gate_up;  // [row][gate ffn, up ffn] of `type`
  DType type;
  int ffn;      // multiple of 8
  void* gated;  // [row][ffn]
};
cudaError_t LaunchSwiGlu(const SwiGluArgs& args, int rows, cudaStream_t stream);

// Reduces logits to what each row wants of them, as engine/cpu/sampler does: the same order of
// operations and the same random numbers. A slot that samples moves on.
struct SampleArgs {
  const StepHeader* step;
  RowSource source;     // kLogits, or kCompared: then but for rows that are not reduced
  const float* logits;  // [i][vocab], of the source's i-th row
  float* scratch;       // [i][vocab], for adjusted logits
  SlotTables tables;
  DeviceLogitsResult* results;  // [logits row]
  DeviceTokenLogprob* top;      // of all rows, each at its top_first
};
cudaError_t LaunchSample(const SampleArgs& args, int rows, cudaStream_t stream);

// For those of compared_rows [first, first + rows) that have a reference there: how far the row's
// distribution is from it. After LaunchSample.
struct DivergenceArgs {
  const StepHeader* step;
  int first;
  const float* logits;  // [i][vocab], of compared row first + i
  int vocab;
  DeviceLogitsResult* results;  // [logits row]
};
cudaError_t LaunchDivergence(const DivergenceArgs& args, int rows, cudaStream_t stream);

}  // namespace skipstone::cuda
