// A register tile of up to kTileRows x 4 dot products, for dot_block.cc. Compiled once per
// instruction set: no ordinary include guard.
#if defined(SKIPSTONE_DOT_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SKIPSTONE_DOT_TILE_INL_H_
#undef SKIPSTONE_DOT_TILE_INL_H_
#else
#define SKIPSTONE_DOT_TILE_INL_H_
#endif

#include <cstring>

#include "engine/cpu/dot_vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace skipstone {
namespace HWY_NAMESPACE {

// 6 x 4 accumulators, 6 inputs and an output use 31 of AVX-512's 32 registers; 3 x 4, 3 inputs and
// an output all 16 of AVX2 and SSE4. A step then loads each vector once.
#if HWY_TARGET == HWY_SCALAR
constexpr int kTileRows = 2;
#elif HWY_TARGET <= HWY_AVX3
constexpr int kTileRows = 6;
#else
constexpr int kTileRows = 3;
#endif

template <class T>
struct TileArgs {
  const float* inputs[6];
  const T* outputs[4];
  int64_t count;   // elements to take
  int64_t ahead;   // elements from an output to the one that comes next in its place
  bool first;      // start from zero, not from scratch
  bool last;       // reduce to sums, do not save to scratch
  int valid;       // outputs to store
  float* scratch;  // rows x 4 vectors
  float* sums;     // [rows][sums_stride]
  int64_t sums_stride;
};

// The accumulators of the tile's four outputs.
template <int kRows>
struct Tile {
  Column<kRows> c0, c1, c2, c3;
};

// Vector number kVector of the step at element k.
template <int kVector, int kRows, class T>
HWY_INLINE void StepVector(D d, const T* const* w, const float* const* x, int64_t k,
                           Tile<kRows>& tile) {
  Column<kRows> inputs;
  LoadInputs(d, x, k + kVector * static_cast<int64_t>(hn::Lanes(d)), inputs);
  MulAddColumn(inputs, LoadOutput<kVector>(d, w[0] + k), tile.c0);
  MulAddColumn(inputs, LoadOutput<kVector>(d, w[1] + k), tile.c1);
  MulAddColumn(inputs, LoadOutput<kVector>(d, w[2] + k), tile.c2);
  MulAddColumn(inputs, LoadOutput<kVector>(d, w[3] + k), tile.c3);
}

// Elements [0, count), whole steps. kStream prefetches `ahead` elements behind what it reads: one
// row of weights is read faster than the hardware fetches the next.
template <bool kStream, int kRows, class T>
HWY_INLINE void Steps(D d, const T* const* w, const float* const* x, int64_t count, int64_t ahead,
                      Tile<kRows>& tile) {
  for (int64_t k = 0; k < count; k += StepElements<T>()) {
    if constexpr (kStream) {
      hwy::Prefetch(w[0] + k + ahead);
      hwy::Prefetch(w[1] + k + ahead);
      hwy::Prefetch(w[2] + k + ahead);
      hwy::Prefetch(w[3] + k + ahead);
    }
    StepVector<0>(d, w, x, k, tile);
    if constexpr (kStepVectors < T >> 1) StepVector<1>(d, w, x, k, tile);
  }
}

// The last elements, fewer than a step takes: as floats in their own order, padded with zeros to
// whole vectors. ArrangeInput leaves them in that order too.
template <int kRows, class T>
HWY_NOINLINE Tile<kRows> Tail(const TileArgs<T>& args, int64_t begin, Tile<kRows> tile) {
  constexpr size_t kMaxStep = 2 * HWY_MAX_BYTES / sizeof(float);
  const int64_t n = hn::Lanes(D());
  const int64_t left = args.count - begin;
  float w[4][kMaxStep] = {};
  float x[kRows][kMaxStep] = {};
  const float* wp[4];
  const float* xp[kRows];
  for (int i = 0; i < 4; ++i) {
    for (int64_t k = 0; k < left; ++k) w[i][k] = ToFloat(args.outputs[i][begin + k]);
    wp[i] = w[i];
  }
  for (int i = 0; i < kRows; ++i) {
    std::memcpy(x[i], args.inputs[i] + begin, left * sizeof(float));
    xp[i] = x[i];
  }
  Steps<false, kRows, float>(D(), wp, xp, (left + n - 1) / n * n, 0, tile);
  return tile;
}

// Zeros, or what an earlier panel left in scratch.
template <int kRows>
HWY_INLINE void Start(D d, bool first, const float* scratch, Column<kRows>& column) {
  if constexpr (kRows > 0) {
    Start(d, first, scratch, column.others);
    column.last = first ? hn::Zero(d) : hn::Load(d, scratch + (kRows - 1) * 4 * hn::Lanes(d));
  }
}

template <int kRows, class T>
HWY_INLINE void Finish(D d, const TileArgs<T>& args, const Column<kRows>& c0,
                       const Column<kRows>& c1, const Column<kRows>& c2, const Column<kRows>& c3) {
  if constexpr (kRows > 0) {
    Finish(d, args, c0.others, c1.others, c2.others, c3.others);
    const int64_t n = hn::Lanes(d);
    float* scratch = args.scratch + (kRows - 1) * 4 * n;
    if (args.last) {
      SumLanes(d, c0.last, c1.last, c2.last, c3.last, args.valid,
               args.sums + (kRows - 1) * args.sums_stride);
      return;
    }
    hn::Store(c0.last, d, scratch);
    hn::Store(c1.last, d, scratch + n);
    hn::Store(c2.last, d, scratch + 2 * n);
    hn::Store(c3.last, d, scratch + 3 * n);
  }
}

template <int kRows, class T, bool kStream>
HWY_NOINLINE void DotTile(const TileArgs<T>& args) {
  const D d;
  const int64_t n = hn::Lanes(d);
  const int64_t whole = args.count / StepElements<T>() * StepElements<T>();
  Tile<kRows> tile;
  Start(d, args.first, args.scratch, tile.c0);
  Start(d, args.first, args.scratch + n, tile.c1);
  Start(d, args.first, args.scratch + 2 * n, tile.c2);
  Start(d, args.first, args.scratch + 3 * n, tile.c3);
  Steps<kStream, kRows, T>(d, args.outputs, args.inputs, whole, args.ahead, tile);
  if (whole < args.count) tile = Tail<kRows, T>(args, whole, tile);
  Finish(d, args, tile.c0, tile.c1, tile.c2, tile.c3);
}

}  // namespace HWY_NAMESPACE
}  // namespace skipstone
HWY_AFTER_NAMESPACE();

#endif  // toggle
