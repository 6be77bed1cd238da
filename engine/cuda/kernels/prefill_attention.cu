// Causal attention of a chunk of rows over paged K/V on tensor cores, in the manner of
// FlashAttention-2 (Dao 2023).
//
// A block handles one tile of up to 64 rows for one query head, a warp 16 of the rows. Keys and
// values pass through shared memory 64 positions at a time: while the scores are computed the
// values are on their way, while the values are used the next keys are. Queries stay in registers
// as A operands, scores become A operands of the second product without leaving their lanes; the
// softmax is online, in f32 and base 2. Rows of shared memory are padded by 16 bytes, so that the
// eight rows of an operand lie in different banks.
//
// Positions are taken by index, without the gap between the sink and the window of the tile's first
// row. Scores are masked where the tile's diagonal or a window's begin crosses the key tile.
//
// Memory: K and V once per tile and query head, from the L2 cache after the first. Limits: head_dim
// 64 or 128.
#include <cfloat>
#include <cmath>

#include "engine/cuda/kernels/kv_store.cuh"
#include "engine/cuda/kernels/launch.h"
#include "engine/cuda/kernels/stage_kernels.h"

namespace skipstone::cuda {
namespace {

constexpr int kThreads = 128;
// Thread blocks of a multiprocessor at a time, with 168 or 128 registers to a thread. Without this
// bound 128-wide heads take 213, and only two blocks fit.
template <int kDim>
constexpr int kBlocks = kDim == 64 ? 4 : 3;
constexpr int kKeys = 64;  // positions in shared memory at a time
constexpr int kPadding = 8;
constexpr int kKeyTiles = kKeys / 8;
constexpr float kLog2E = 1.4426950408889634f;
constexpr int kNoWindow = 1 << 30;  // wider than any context

// 16 rows of one warp. Lane (g, t) holds rows g and g + 8 ([0] and [1] below).
template <int kDim>
struct WarpState {
  uint32_t q[kDim / 16][4];
  float out[kDim / 8][4];
  float max[2];
  float sum[2];  // of this lane's columns
};

template <class T, int kDim>
__device__ __forceinline__ void LoadQueries(const AttentionArgs& args, const PrefillTile& tile,
                                            int head, WarpState<kDim>& state) {
  const int g = threadIdx.x % 32 / 4;
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = threadIdx.x / 32 * 16 + g + 8 * half;
    const T* row = static_cast<const T*>(args.qkv) +
                   static_cast<int64_t>(tile.row + r) * args.heads.qkv_size() + head * kDim + 2 * t;
#pragma unroll
    for (int s = 0; s < kDim / 16; ++s) {
      const bool valid = r < tile.count;
      state.q[s][half] = valid ? *reinterpret_cast<const uint32_t*>(row + 16 * s) : 0;
      state.q[s][half + 2] = valid ? *reinterpret_cast<const uint32_t*>(row + 16 * s + 8) : 0;
    }
    state.max[half] = -FLT_MAX;  // above a masked score: all weights may be 0
    state.sum[half] = 0;
  }
#pragma unroll
  for (int j = 0; j < kDim / 8; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) state.out[j][i] = 0;
  }
}

// One K/V head of a slot and layer: indices [0, end) of what a tile sees.
struct HeadTokens {
  const PagesView& pages;
  const int32_t* table;
  int kv_head;
  Gap gap;
  int end;
};

// Begins to copy indices [first, first + kKeys); those from the end on become zero.
template <class T, int kDim>
__device__ __forceinline__ void CopyTokens(const HeadTokens& tokens, int first, PagePart part,
                                           T (*to)[kDim + kPadding]) {
  constexpr int kVectors = kDim / 8;
  for (int i = threadIdx.x; i < kKeys * kVectors; i += kThreads) {
    const int token = i / kVectors;
    const int d = i % kVectors * 8;
    const bool valid = first + token < tokens.end;
    const int position = tokens.gap.PositionOf(valid ? first + token : 0);
    const T* from = TokenOf<T>(tokens.pages, tokens.table, position, part, tokens.kv_head);
    CopyAsync(&to[token][d], from + d, valid);
  }
  CommitCopies();
}

// scores[j]: of the 8 indices of key tile j.
template <class T, int kDim>
__device__ __forceinline__ void Score(const WarpState<kDim>& state,
                                      const T (*keys)[kDim + kPadding],
                                      float (&scores)[kKeyTiles][4]) {
  const int g = threadIdx.x % 32 / 4;
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int j = 0; j < kKeyTiles; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) scores[j][i] = 0;
    const T* key = &keys[8 * j + g][2 * t];
#pragma unroll
    for (int s = 0; s < kDim / 16; ++s) {
      MultiplyAdd<T>(scores[j], state.q[s],
                     {*reinterpret_cast<const uint32_t*>(key + 16 * s),
                      *reinterpret_cast<const uint32_t*>(key + 16 * s + 8)});
    }
  }
}

// What the rows of a warp see: row r the indices up to `own` + r that are below `sink` or not
// `window` before its own.
struct WarpSight {
  int own;
  int sink;
  int window;
};

// Masks what rows do not see of indices first.. . Where no edge falls there is nothing to do.
__device__ __forceinline__ void Mask(int first, const WarpSight& sight,
                                     float (&scores)[kKeyTiles][4]) {
  const int last = first + kKeys - 1;
  const int last_begin = sight.own + 16 - sight.window;  // of the windows of the warp's rows
  if (last <= sight.own && (last < sight.sink || first >= last_begin)) return;
  const int g = threadIdx.x % 32 / 4;
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int own = sight.own + g + 8 * half;
#pragma unroll
    for (int j = 0; j < kKeyTiles; ++j) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int index = first + 8 * j + 2 * t + i;
        const bool seen = index <= own && (index < sight.sink || index > own - sight.window);
        if (!seen) scores[j][2 * half + i] = -INFINITY;
      }
    }
  }
}

// Scores become weights; the state is rescaled to the new maximum.
template <int kDim>
__device__ __forceinline__ void Weigh(WarpState<kDim>& state, float (&scores)[kKeyTiles][4]) {
  const float scale = kLog2E / sqrtf(static_cast<float>(kDim));
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float max = state.max[half];
#pragma unroll
    for (int j = 0; j < kKeyTiles; ++j) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& score = scores[j][2 * half + i];
        score *= scale;
        max = fmaxf(max, score);
      }
    }
    max = fmaxf(max, __shfl_xor_sync(kAllLanes, max, 1));
    max = fmaxf(max, __shfl_xor_sync(kAllLanes, max, 2));
    const float rescale = exp2f(state.max[half] - max);
    state.max[half] = max;
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kKeyTiles; ++j) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& score = scores[j][2 * half + i];
        score = exp2f(score - max);
        sum += score;
      }
    }
    state.sum[half] = state.sum[half] * rescale + sum;
#pragma unroll
    for (int j = 0; j < kDim / 8; ++j) {
      state.out[j][2 * half] *= rescale;
      state.out[j][2 * half + 1] *= rescale;
    }
  }
}

template <class T, int kDim>
__device__ __forceinline__ void AddValues(const float (&weights)[kKeyTiles][4],
                                          const T (*values)[kDim + kPadding],
                                          WarpState<kDim>& state) {
  const int lane = threadIdx.x % 32;
  // The matrices of one load: positions 0-7 and 8-15 of eight elements, then of the next eight.
  const int token = lane % 16;
  const int element = lane / 16 * 8;
#pragma unroll
  for (int s = 0; s < kKeys / 16; ++s) {
    const float(&low)[4] = weights[2 * s];
    const float(&high)[4] = weights[2 * s + 1];
    const uint32_t a[4] = {Pack<T>(low[0], low[1]), Pack<T>(low[2], low[3]),
                           Pack<T>(high[0], high[1]), Pack<T>(high[2], high[3])};
#pragma unroll
    for (int j = 0; j < kDim / 16; ++j) {
      uint32_t b[4];
      LoadMatricesTransposed(b, &values[16 * s + token][16 * j + element]);
      MultiplyAdd<T>(state.out[2 * j], a, {b[0], b[1]});
      MultiplyAdd<T>(state.out[2 * j + 1], a, {b[2], b[3]});
    }
  }
}

template <class T, int kDim>
__device__ __forceinline__ void StoreRows(const AttentionArgs& args, const PrefillTile& tile,
                                          int head, const WarpState<kDim>& state) {
  const int g = threadIdx.x % 32 / 4;
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = state.sum[half];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    const int r = threadIdx.x / 32 * 16 + g + 8 * half;
    if (r >= tile.count) continue;
    T* row = static_cast<T*>(args.attended) +
             (static_cast<int64_t>(tile.row + r) * args.heads.heads + head) * kDim + 2 * t;
#pragma unroll
    for (int j = 0; j < kDim / 8; ++j) {
      *reinterpret_cast<uint32_t*>(row + 8 * j) =
          Pack<T>(state.out[j][2 * half] / sum, state.out[j][2 * half + 1] / sum);
    }
  }
}

template <class T, int kDim>
__global__ void __launch_bounds__(kThreads, kBlocks<kDim>)
    PrefillAttentionKernel(AttentionArgs args) {
  alignas(16) __shared__ T keys[kKeys][kDim + kPadding];
  alignas(16) __shared__ T values[kKeys][kDim + kPadding];
  WaitForPrevious();
  if (static_cast<int>(blockIdx.x) >= args.step->num_prefill_tiles) return;
  const RowView rows = RowSource{ListKind::kQuery, args.layer, 0, 0}.Of(args.step);
  const PrefillTile tile =
      rows.Clip(args.step->At<PrefillTile>(args.step->prefill_tiles)[blockIdx.x]);
  if (tile.count == 0) return;
  const int head = blockIdx.y;
  const int kv_head = head / (args.heads.heads / args.heads.kv_heads);
  const int position = args.step->At<int32_t>(args.step->positions)[tile.row];
  const int slot = args.step->At<int32_t>(args.step->slots)[tile.row];
  const int window = args.step->WindowOf(tile.set, args.layer, args.pages.num_layers);
  const Gap gap = Gap::Before(position, window, args.step->sink_tokens);
  const int own = position - gap.size;
  const int end = own + tile.count;
  const HeadTokens tokens = {args.pages, TableOf(args.pages, slot, args.layer), kv_head, gap, end};
  const WarpSight sight = {own + static_cast<int>(threadIdx.x) / 32 * 16, gap.begin,
                           window == 0 ? kNoWindow : window};
  WarpState<kDim> state;
  LoadQueries<T, kDim>(args, tile, head, state);
  CopyTokens<T, kDim>(tokens, 0, PagePart::kKey, keys);
  for (int first = 0; first < end; first += kKeys) {
    CopyTokens<T, kDim>(tokens, first, PagePart::kValue, values);
    WaitForCopies<1>();
    __syncthreads();  // all keys are there
    float scores[kKeyTiles][4];
    Score<T, kDim>(state, keys, scores);
    Mask(first, sight, scores);
    Weigh<kDim>(state, scores);
    WaitForCopies<0>();
    __syncthreads();  // all values are there, and nobody needs the keys
    if (first + kKeys < end) CopyTokens<T, kDim>(tokens, first + kKeys, PagePart::kKey, keys);
    AddValues<T, kDim>(scores, values, state);
    __syncthreads();  // nobody needs the values
  }
  StoreRows<T, kDim>(args, tile, head, state);
}

template <class T>
cudaError_t LaunchOfDim(const AttentionArgs& args, int tiles, cudaStream_t stream) {
  const LaunchShape shape{.grid = dim3(tiles, args.heads.heads), .threads = kThreads};
  return args.heads.head_dim == 64 ? Launch(PrefillAttentionKernel<T, 64>, shape, stream, args)
                                   : Launch(PrefillAttentionKernel<T, 128>, shape, stream, args);
}

}  // namespace

cudaError_t LaunchPrefillAttention(const AttentionArgs& args, int tiles, cudaStream_t stream) {
  return args.type == DType::kBF16 ? LaunchOfDim<__nv_bfloat16>(args, tiles, stream)
                                   : LaunchOfDim<__half>(args, tiles, stream);
}

}  // namespace skipstone::cuda
