// Products of few rows, bound by reading the weights, each fused with what follows it.
#pragma once

#include <cuda_runtime.h>

#include "engine/cuda/kernels/device_step.h"
#include "engine/cuda/kernels/kernel_inputs.h"

namespace skipstone::cuda {

// Beyond so many rows the library's products win: the tensor core tile has eight rows, and two of
// them keep the loads of the inputs well below those of the weights.
inline constexpr int kSkinnyRows = 16;

// x W^T for the rows of `source`, W [outputs, inputs] and x [row][x_stride] of `type`.
struct SkinnyArgs {
  const StepHeader* step;
  RowSource source;  // not used by LaunchSkinnyQkv
  const void* weight;
  const void* x;
  DType type;
  int outputs;
  int inputs;    // multiple of 8
  int x_stride;  // elements, multiple of 8
  // Looks for rows before it reads any weights: worth a microsecond only where there may be none.
  bool may_be_empty;
};

// The launchers below serve up to kSkinnyRows rows; `rows` bounds those of the source.

// residual[row][output] += product.
cudaError_t LaunchSkinnyAdd(const SkinnyArgs& args, float* residual, int rows, cudaStream_t stream);

// logits[i][output] = product of the i-th row of the source.
cudaError_t LaunchSkinnyLogits(const SkinnyArgs& args, float* logits, int rows,
                               cudaStream_t stream);

// W is [gate; up], 2 * ffn rows: gated[row][j] = silu(product j) * product (ffn + j).
cudaError_t LaunchSkinnySwiGlu(const SkinnyArgs& args, void* gated, int rows, cudaStream_t stream);

// W is [q; k; v]. Queries of the layer's query_rows go rotated to qkv [row][q, k, v]; keys,
// rotated, and values of its kv_rows go to their pages.
struct SkinnyQkvArgs {
  int layer;
  HeadShape heads;
  PagesView pages;
  const float2* rope;  // [position][head_dim / 2], cosine and sine
  void* qkv;
};
cudaError_t LaunchSkinnyQkv(const SkinnyArgs& args, const SkinnyQkvArgs& qkv, int rows,
                            cudaStream_t stream);

}  // namespace skipstone::cuda
