// What the vectors of fitted maps add to their rows, and the input of products that follow.
//
// A block takes one row of one map: it reads the row once for the norm, where the map has more than
// a bias, and once more, from the L1 cache, to add to it. Memory: 8 bytes per element of the row, 2
// more where a product follows; the vectors come from the L2 cache. Limits: hidden a multiple of 8.
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/map_kernels.h"
#include "engine/cuda/kernels/rms_norm.cuh"

namespace skipstone::cuda {
namespace {

constexpr int kThreads = 256;

struct MappedRow {
  int map;  // -1: none
  int row;
};

// The i-th row of all maps of a sublayer.
__device__ MappedRow MappedRowOf(const StepHeader* step, ListKind kind, int layer, int i) {
  const DeviceMapLists lists = step->MapListsOf(kind, layer);
  for (int at = 0; at < lists.count; ++at) {
    const DeviceMapList& list = step->At<DeviceMapList>(lists.lists)[at];
    if (i < list.rows.count) return {list.map, step->ViewOf(list.rows)[i]};
    i -= list.rows.count;
  }
  return {-1, 0};
}

// down x, in all threads, of x = in * scale * norm.
__device__ float DownOf(const float* down, const float* in, const float* norm, float scale,
                        int hidden, float* scratch) {
  float sum = 0;
  for (int j = threadIdx.x; j < hidden; j += kThreads) sum += in[j] * scale * norm[j] * down[j];
  return BlockReduce(sum, 0.0f, Add(), scratch);
}

template <class T>
__global__ void __launch_bounds__(kThreads) MapVectorsKernel(MapVectorsArgs args) {
  __shared__ float scratch[33];
  WaitForPrevious();
  const MappedRow mapped = MappedRowOf(args.step, args.kind, args.layer, blockIdx.x);
  const int at = mapped.map - args.first;
  if (mapped.map < 0 || at < 0 || at >= args.count) return;
  const MapVectors map = args.maps[at];
  const int64_t first = static_cast<int64_t>(mapped.row) * args.hidden;
  float* residual = args.residual + first;
  const bool normalizes = map.scale != nullptr || map.down != nullptr || map.product;
  const float scale = normalizes ? RmsScale(residual, args.hidden, args.epsilon, scratch) : 0.0f;
  const float inner = map.down == nullptr
                          ? 0.0f
                          : DownOf(map.down, residual, args.norm, scale, args.hidden, scratch);
  const auto* up = static_cast<const T*>(map.up);
  const bool adds = map.scale != nullptr || map.bias != nullptr || up != nullptr;
  for (int j = threadIdx.x; j < args.hidden / 8; j += kThreads) {
    float y[8], x[8], v[8];
    Load8(residual, j, y);
    if (normalizes) {
      Load8(args.norm, j, x);
#pragma unroll
      for (int i = 0; i < 8; ++i) x[i] *= y[i] * scale;
      if (map.product) {
        reinterpret_cast<uint4*>(static_cast<T*>(args.normed) + first)[j] = Pack8<T>(x);
      }
    }
    if (map.scale != nullptr) {
      Load8(map.scale, j, v);
#pragma unroll
      for (int i = 0; i < 8; ++i) y[i] += v[i] * x[i];
    }
    if (map.bias != nullptr) {
      Load8(map.bias, j, v);
#pragma unroll
      for (int i = 0; i < 8; ++i) y[i] += v[i];
    }
    if (up != nullptr) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        y[i] += inner * ToFloat(up[static_cast<int64_t>(8 * j + i) * map.up_stride]);
      }
    }
    if (!adds) continue;
    auto* to = reinterpret_cast<float4*>(residual);
    to[2 * j] = make_float4(y[0], y[1], y[2], y[3]);
    to[2 * j + 1] = make_float4(y[4], y[5], y[6], y[7]);
  }
}

}  // namespace

cudaError_t LaunchMapVectors(const MapVectorsArgs& args, int rows, cudaStream_t stream) {
  const LaunchShape shape{.grid = dim3(rows), .threads = kThreads};
  return args.type == DType::kBF16 ? Launch(MapVectorsKernel<__nv_bfloat16>, shape, stream, args)
                                   : Launch(MapVectorsKernel<__half>, shape, stream, args);
}

}  // namespace skipstone::cuda
