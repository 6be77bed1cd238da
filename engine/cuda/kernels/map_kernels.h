// What fitted maps add to rows whose sublayer is skipped: up (down x) + scale * x + bias with
// x = RmsNorm(residual) * norm, for the rows of each map of a sublayer. Nothing of a map changes
// from step to step, so pointers to its weights are arguments of the launch; which rows have it is
// the step's.
#pragma once

#include <cuda_runtime.h>

#include "engine/cuda/kernels/device_step.h"
#include "engine/cuda/kernels/kernel_inputs.h"

namespace skipstone::cuda {

// Maps of one launch: their arguments stay well below the 4 KiB that any launch may have.
inline constexpr int kMapsPerLaunch = 32;

// Absent weights are null.
struct MapVectors {
  const float* bias;   // [hidden]
  const float* scale;  // [hidden]
  // Of rank 1, whose products are a sum and a vector.
  const float* down;  // [hidden]
  const void* up;     // [hidden][up_stride], of which the first column counts; of `type`
  int up_stride;
  bool product;  // more products follow: they need x
};

// residual += up (down x) + scale * x + bias, normed = x where a product follows.
struct MapVectorsArgs {
  const StepHeader* step;
  ListKind kind;  // kAttentionMap or kMlpMap
  int layer;
  int first;  // maps [first, first + count) of the sublayer
  int count;
  MapVectors maps[kMapsPerLaunch];
  const float* norm;  // [hidden]
  float epsilon;
  int hidden;  // multiple of 8
  DType type;
  float* residual;  // [row][hidden]
  void* normed;     // [row][hidden]
};
// `rows` bounds those of all maps of the sublayer.
cudaError_t LaunchMapVectors(const MapVectorsArgs& args, int rows, cudaStream_t stream);

// One product of a map.
struct MapProduct {
  int map;
  const void* weight;  // [outputs, inputs]
  int outputs;         // 0: none
  int inputs;          // multiple of 8
};

// x W^T of each map's rows, with its own W. Maps of more than kSkinnyRows rows are left out.
struct MapProductsArgs {
  const StepHeader* step;
  ListKind kind;
  int layer;
  int count;
  MapProduct products[kMapsPerLaunch];
  const void* x;  // [row][x_stride]
  int x_stride;   // multiple of 8
  DType type;
  bool may_be_empty;  // as SkinnyArgs'
};
// to[row][output] = product, of `type`, rows of `stride` elements. `rows` bounds those of one map
// that is not left out.
cudaError_t LaunchMapDown(const MapProductsArgs& args, void* to, int stride, int rows,
                          cudaStream_t stream);
// residual[row][output] += product; outputs are `hidden`.
cudaError_t LaunchMapUp(const MapProductsArgs& args, float* residual, int rows,
                        cudaStream_t stream);

}  // namespace skipstone::cuda
