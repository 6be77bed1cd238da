// The product kernel behind skinny_matmul.h, a template over what happens to the results.
//
// A block computes 16 outputs for up to 8 * kRowTiles rows; its eight warps share the inputs out in
// slices of 128 and are summed at the end. The tensor core's A operand is the weights, 16 outputs
// by 16 inputs, B the rows. A product may take its inputs in any order as long as both operands do,
// so lane (g, t) loads 16 bytes, inputs 8 t .. 8 t + 7 of 32, of weight rows g and g + 8 and of row
// g of x: elements 0..3 are its share of one tensor core step, 4..7 of the next. All loads from
// memory are 16 bytes wide and eight of a warp's weight loads are in flight. Outputs g and g + 8 of
// a tile end up in one lane, so an epilogue gets what belongs together (gate and up, the two halves
// of a rotated pair) by choosing which weight rows form a tile.
//
// Memory: weights once, 2 bytes per element; x from the L2 cache, once per block.
// An epilogue has
//   WeightRow(tile, r)  the weight row of the tile's output r, 0 <= r < 16, always a valid row
//   Rows(step, tile)    the rows that the tile computes
//   Store(step, tile, g, row, i, y)  results g and g + 8 of `row`, the list's i-th
#pragma once

#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/number.cuh"
#include "engine/cuda/kernels/skinny_matmul.h"

namespace skipstone::cuda {

inline constexpr int kSkinnyWarps = 8;
inline constexpr int kSkinnyThreads = kSkinnyWarps * 32;
inline constexpr int kSkinnySteps = 4;  // of 32 inputs, per slice
inline constexpr int kSkinnySlice = 32 * kSkinnySteps;

// A lane's share of one slice of the weights.
struct WeightSlice {
  uint4 rows[kSkinnySteps][2];
};

// Inputs from `k` on; zeros behind the last.
template <class T>
__device__ __forceinline__ void LoadSlice(const T* const (&w)[2], int k, int inputs,
                                          WeightSlice& slice) {
#pragma unroll
  for (int s = 0; s < kSkinnySteps; ++s) {
    const int at = k + 32 * s;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      slice.rows[s][i] = at < inputs ? LoadOnce(w[i] + at) : make_uint4(0, 0, 0, 0);
    }
  }
}

// Adds the products of the slice and the same inputs of x.
template <class T, int kRowTiles>
__device__ __forceinline__ void AddSlice(const WeightSlice& slice, const T* const (&x)[kRowTiles],
                                         int k, int inputs, float (&sum)[kRowTiles][4]) {
#pragma unroll
  for (int s = 0; s < kSkinnySteps; ++s) {
    const int at = k + 32 * s;
    const uint4& low = slice.rows[s][0];
    const uint4& high = slice.rows[s][1];
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
      const bool valid = x[tile] != nullptr && at < inputs;
      const uint4 b =
          valid ? *reinterpret_cast<const uint4*>(x[tile] + at) : make_uint4(0, 0, 0, 0);
      MultiplyAdd<T>(sum[tile], {low.x, high.x, low.y, high.y}, {b.x, b.y});
      MultiplyAdd<T>(sum[tile], {low.z, high.z, low.w, high.w}, {b.z, b.w});
    }
  }
}

// One tile, by the whole block.
template <class T, int kRowTiles, class Epilogue>
__device__ __forceinline__ void SkinnyTile(const SkinnyArgs& args, const Epilogue& epilogue,
                                           int tile) {
  __shared__ float4 partial[kSkinnyWarps][kRowTiles][32];
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int g = lane / 4;
  const int t = lane % 4;
  const T* weight = static_cast<const T*>(args.weight);
  const T* const w[2] = {
      weight + static_cast<int64_t>(epilogue.WeightRow(tile, g)) * args.inputs,
      weight + static_cast<int64_t>(epilogue.WeightRow(tile, g + 8)) * args.inputs};
  // The step was copied before the kernel ahead of this one began. All blocks wait, also those that
  // leave: else the next kernel would take the one before this one for done.
  if (args.may_be_empty && epilogue.Rows(args.step, tile).count == 0) {
    WaitForPrevious();
    return;
  }
  // Weights never change: the first are on their way while the kernel before this one ends.
  int k = warp * kSkinnySlice + 8 * t;
  WeightSlice slice;
  LoadSlice(w, k, args.inputs, slice);
  const RowView rows = epilogue.Rows(args.step, tile);
  WaitForPrevious();
  if (rows.count == 0) return;

  const T* x[kRowTiles];
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i) {
    const int at = 8 * i + g;
    x[i] = at < rows.count
               ? static_cast<const T*>(args.x) + static_cast<int64_t>(rows[at]) * args.x_stride
               : nullptr;
  }
  float sum[kRowTiles][4] = {};
  // The condition is the same for all lanes of a warp: they multiply together.
  while (k - 8 * t < args.inputs) {
    AddSlice<T, kRowTiles>(slice, x, k, args.inputs, sum);
    k += kSkinnyWarps * kSkinnySlice;
    LoadSlice(w, k, args.inputs, slice);
  }
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i) {
    partial[warp][i][lane] = make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
  }
  __syncthreads();
  if (warp >= kRowTiles) return;
  float4 total = partial[0][warp][lane];
  for (int i = 1; i < kSkinnyWarps; ++i) {
    const float4 p = partial[i][warp][lane];
    total = make_float4(total.x + p.x, total.y + p.y, total.z + p.z, total.w + p.w);
  }
  const int i = 8 * warp + 2 * t;
  if (i < rows.count) epilogue.Store(args.step, tile, g, rows[i], i, {total.x, total.z});
  if (i + 1 < rows.count)
    epilogue.Store(args.step, tile, g, rows[i + 1], i + 1, {total.y, total.w});
}

template <class T, int kRowTiles, class Epilogue>
__global__ void __launch_bounds__(kSkinnyThreads)
    SkinnyMatMulKernel(SkinnyArgs args, Epilogue epilogue) {
  SkinnyTile<T, kRowTiles>(args, epilogue, blockIdx.x);
}

// Tiles of 16 consecutive outputs, the last one shorter.
struct PlainTile {
  RowSource source;
  int outputs;

  __device__ int WeightRow(int tile, int r) const { return min(16 * tile + r, outputs - 1); }
  __device__ RowView Rows(const StepHeader* step, int) const { return source.Of(step); }
};

// residual [row][outputs]
struct AddToResidual : PlainTile {
  float* residual;

  __device__ void Store(const StepHeader*, int tile, int g, int row, int, float2 y) const {
    float* to = residual + static_cast<int64_t>(row) * outputs;
    const int output = 16 * tile + g;
    if (output < outputs) to[output] += y.x;
    if (output + 8 < outputs) to[output + 8] += y.y;
  }
};

template <class T, class Epilogue>
cudaError_t LaunchSkinny(const SkinnyArgs& args, const Epilogue& epilogue, int rows,
                         cudaStream_t stream) {
  if (rows == 0) return cudaSuccess;
  const LaunchShape shape{.grid = dim3((args.outputs + 15) / 16), .threads = kSkinnyThreads};
  return rows <= 8 ? Launch(SkinnyMatMulKernel<T, 1, Epilogue>, shape, stream, args, epilogue)
                   : Launch(SkinnyMatMulKernel<T, 2, Epilogue>, shape, stream, args, epilogue);
}

}  // namespace skipstone::cuda
