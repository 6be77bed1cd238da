// Attention of single rows over their paged K/V: split over positions, merged by whoever comes
// last.
//
// A block handles the positions of one decode item for one K/V head and up to kGroup of the query
// heads that share it. Items share out what the rows see; where a window leaves a gap the block
// steps over it. A team of head_dim / 8 lanes handles four visible positions at a time:
// a lane holds eight elements of a key and of a value, 16 bytes each, eight loads in flight, and
// eight elements of the queries. Teams keep their own online softmax (Milakov and Gimelshein 2018)
// in f32 and base 2; the block merges them in shared memory. Where a row has several items each
// leaves its unnormalised sum, and the block that arrives last merges them.
//
// Memory: K and V once per kGroup query heads, 2 bytes per element. Limits: head_dim 64 or 128.
#include <cfloat>

#include "engine/cuda/kernels/kv_store.cuh"
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/stage_kernels.h"

namespace skipstone::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTokens = 4;  // positions of a team at a time
constexpr float kLog2E = 1.4426950408889634f;

// The maximum, the sum and the weighted values of the positions seen so far, in base 2. Scores are
// finite or -FLT_MAX, which stands for a position that does not exist.
template <int kGroup>
struct Softmax {
  float max[kGroup];
  float sum[kGroup];
  float values[kGroup][8];
};

template <int kLanes>
__device__ __forceinline__ float TeamSum(float v) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) {
    v += __shfl_xor_sync(kAllLanes, v, offset);
  }
  return v;
}

// Adds kTokens positions, of which the first `valid` exist.
template <class T, int kLanes, int kGroup>
__device__ __forceinline__ void AddTokens(const uint4 (&keys)[kTokens],
                                          const uint4 (&values)[kTokens], int valid,
                                          const float (&q)[kGroup][8], Softmax<kGroup>& state) {
  float scores[kGroup][kTokens];
#pragma unroll
  for (int j = 0; j < kTokens; ++j) {
    float k[8];
    Unpack8<T>(keys[j], k);
#pragma unroll
    for (int h = 0; h < kGroup; ++h) {
      float dot = 0;
#pragma unroll
      for (int i = 0; i < 8; ++i) dot += q[h][i] * k[i];
      dot = TeamSum<kLanes>(dot);
      scores[h][j] = j < valid ? dot : -FLT_MAX;
    }
  }
  if (valid <= 0) return;
#pragma unroll
  for (int h = 0; h < kGroup; ++h) {
    float max = state.max[h];
#pragma unroll
    for (int j = 0; j < kTokens; ++j) max = fmaxf(max, scores[h][j]);
    const float scale = exp2f(state.max[h] - max);
    state.max[h] = max;
    state.sum[h] *= scale;
#pragma unroll
    for (int i = 0; i < 8; ++i) state.values[h][i] *= scale;
#pragma unroll
    for (int j = 0; j < kTokens; ++j) {
      scores[h][j] = exp2f(scores[h][j] - max);
      state.sum[h] += scores[h][j];
    }
  }
#pragma unroll
  for (int j = 0; j < kTokens; ++j) {
    float v[8];
    Unpack8<T>(values[j], v);
#pragma unroll
    for (int h = 0; h < kGroup; ++h) {
#pragma unroll
      for (int i = 0; i < 8; ++i) state.values[h][i] += scores[h][j] * v[i];
    }
  }
}

// Everything a block knows about its place.
struct Place {
  DecodeItem item;
  int kv_head;
  int first_head;
  int num_heads;  // of kGroup
};

template <class T, int kDim, int kGroup>
__device__ __forceinline__ void RunItem(const AttentionArgs& args, const Place& place,
                                        Softmax<kGroup>& state) {
  constexpr int kLanes = kDim / 8;
  constexpr int kStride = kThreads / kLanes * kTokens;
  const int member = threadIdx.x % kLanes;
  const DecodeItem& item = place.item;
  const float scale = kLog2E / sqrtf(static_cast<float>(kDim));
  const T* row = static_cast<const T*>(args.qkv) +
                 static_cast<int64_t>(item.row) * args.heads.qkv_size() + member * 8;
  float q[kGroup][8];
#pragma unroll
  for (int h = 0; h < kGroup; ++h) {
    // A head beyond the group repeats its last one and is not stored.
    const int head = place.first_head + min(h, place.num_heads - 1);
    Unpack8<T>(*reinterpret_cast<const uint4*>(row + head * kDim), q[h]);
    state.max[h] = -FLT_MAX;
    state.sum[h] = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      q[h][i] *= scale;
      state.values[h][i] = 0;
    }
  }
  const int slot = args.step->At<int32_t>(args.step->slots)[item.row];
  const int32_t* table = TableOf(args.pages, slot, args.layer);
  // All teams go round equally often: the lanes of a warp sum together.
  for (int base = item.first; base < item.end; base += kStride) {
    const int first = base + threadIdx.x / kLanes * kTokens;
    uint4 keys[kTokens];
    uint4 values[kTokens];
#pragma unroll
    for (int j = 0; j < kTokens; ++j) {
      keys[j] = values[j] = make_uint4(0, 0, 0, 0);
      if (first + j >= item.end) continue;
      const int position = item.gap.PositionOf(first + j);
      const T* key = TokenOf<T>(args.pages, table, position, PagePart::kKey, place.kv_head);
      const T* value = TokenOf<T>(args.pages, table, position, PagePart::kValue, place.kv_head);
      keys[j] = LoadStreaming(key + member * 8);
      values[j] = LoadStreaming(value + member * 8);
    }
    AddTokens<T, kLanes, kGroup>(keys, values, item.end - first, q, state);
  }
}

// Merges the results of the splits of the place's heads, once all are there.
template <class T, int kDim>
__device__ void MergeSplits(const AttentionArgs& args, const Place& place) {
  const int heads = args.heads.heads;
  const DecodeItem& item = place.item;
  for (int i = threadIdx.x; i < place.num_heads * kDim; i += kThreads) {
    const int head = place.first_head + i / kDim;
    const int64_t first = static_cast<int64_t>(item.partial) * heads + head;
    float max = -FLT_MAX;
    for (int s = 0; s < item.num_splits; ++s) {
      max = fmaxf(max, __ldcg(&args.partial_states[first + s * heads]).x);
    }
    float sum = 0;
    float value = 0;
    for (int s = 0; s < item.num_splits; ++s) {
      const int64_t at = first + s * heads;
      const float2 state = __ldcg(&args.partial_states[at]);
      const float weight = exp2f(state.x - max);
      sum += weight * state.y;
      value += weight * __ldcg(&args.partial_values[at * kDim + i % kDim]);
    }
    static_cast<T*>(
        args.attended)[(static_cast<int64_t>(item.row) * heads + head) * kDim + i % kDim] =
        FromFloat<T>(value / sum);
  }
}

template <class T, int kDim, int kGroup>
__global__ void __launch_bounds__(kThreads) DecodeAttentionKernel(AttentionArgs args) {
  constexpr int kLanes = kDim / 8;
  constexpr int kTeams = kThreads / kLanes;
  __shared__ float2 states[kTeams][kGroup];
  __shared__ float values[kTeams][kGroup][kDim];
  __shared__ int arrived;
  WaitForPrevious();
  const DecodePlan plan = args.step->PlanOf(args.layer);
  if (static_cast<int>(blockIdx.x) >= plan.count) return;
  const int group = args.heads.heads / args.heads.kv_heads;
  Place place;
  place.item = args.step->At<DecodeItem>(plan.items)[blockIdx.x];
  place.kv_head = blockIdx.y;
  place.first_head = blockIdx.y * group + blockIdx.z * kGroup;
  place.num_heads = min(kGroup, group - static_cast<int>(blockIdx.z) * kGroup);
  const DecodeItem& item = place.item;

  Softmax<kGroup> state;
  RunItem<T, kDim, kGroup>(args, place, state);
  const int team = threadIdx.x / kLanes;
  const int member = threadIdx.x % kLanes;
#pragma unroll
  for (int h = 0; h < kGroup; ++h) {
    if (member == 0) states[team][h] = make_float2(state.max[h], state.sum[h]);
#pragma unroll
    for (int i = 0; i < 8; ++i) values[team][h][member * 8 + i] = state.values[h][i];
  }
  __syncthreads();
  const bool whole = item.num_splits == 1;
  const int heads = args.heads.heads;
  for (int i = threadIdx.x; i < place.num_heads * kDim; i += kThreads) {
    const int h = i / kDim;
    float max = -FLT_MAX;
    for (int s = 0; s < kTeams; ++s) max = fmaxf(max, states[s][h].x);
    float sum = 0;
    float value = 0;
    for (int s = 0; s < kTeams; ++s) {
      const float weight = exp2f(states[s][h].x - max);
      sum += weight * states[s][h].y;
      value += weight * values[s][h][i % kDim];
    }
    const int head = place.first_head + h;
    if (whole) {
      static_cast<T*>(
          args.attended)[(static_cast<int64_t>(item.row) * heads + head) * kDim + i % kDim] =
          FromFloat<T>(value / sum);
    } else {
      const int64_t at = static_cast<int64_t>(item.partial + item.split) * heads + head;
      args.partial_values[at * kDim + i % kDim] = value;
      if (i % kDim == 0) args.partial_states[at] = make_float2(max, sum);
    }
  }
  if (whole) return;
  // What this block wrote is visible before it counts as arrived.
  __threadfence();
  __syncthreads();
  int32_t* counter = args.arrived + static_cast<int64_t>(item.partial) * heads + place.first_head;
  if (threadIdx.x == 0) arrived = atomicAdd(counter, 1) + 1;
  __syncthreads();
  if (arrived < item.num_splits) return;
  __threadfence();
  MergeSplits<T, kDim>(args, place);
  if (threadIdx.x == 0) *counter = 0;
}

template <class T, int kDim>
cudaError_t LaunchOfGroup(const AttentionArgs& args, int items, cudaStream_t stream) {
  const int group = args.heads.heads / args.heads.kv_heads;
  LaunchShape shape{.grid = dim3(items, args.heads.kv_heads, 1), .threads = kThreads};
  if (group == 1) return Launch(DecodeAttentionKernel<T, kDim, 1>, shape, stream, args);
  if (group == 2) return Launch(DecodeAttentionKernel<T, kDim, 2>, shape, stream, args);
  shape.grid.z = (group + 3) / 4;
  return Launch(DecodeAttentionKernel<T, kDim, 4>, shape, stream, args);
}

template <class T>
cudaError_t LaunchOfDim(const AttentionArgs& args, int items, cudaStream_t stream) {
  return args.heads.head_dim == 64 ? LaunchOfGroup<T, 64>(args, items, stream)
                                   : LaunchOfGroup<T, 128>(args, items, stream);
}

}  // namespace

cudaError_t LaunchDecodeAttention(const AttentionArgs& args, int items, cudaStream_t stream) {
  return args.type == DType::kBF16 ? LaunchOfDim<__nv_bfloat16>(args, items, stream)
                                   : LaunchOfDim<__half>(args, items, stream);
}

}  // namespace skipstone::cuda
