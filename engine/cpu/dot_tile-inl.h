// A register tile of up to kTileRows x 4 dot products, for dot_block.cc. Compiled once per
// instruction set: no ordinary include guard.
#if defined(SKIPSTONE_DOT_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SKIPSTONE_DOT_TILE_INL_H_
#undef SKIPSTONE_DOT_TILE_INL_H_
#else
#define SKIPSTONE_DOT_TILE_INL_H_
#endif

#include <cstring>

#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace skipstone {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// 6 x 4 accumulators, 4 outputs and an input use 29 of AVX-512's 32 registers; 3 x 4 and 4 outputs
// all 16 of AVX2 and SSE4.
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

// Vectors that one step takes of each row, so that a step loads whole vectors of T: bf16 comes in
// pairs. Of a block of 2 n elements the first vector is the even ones (a shift), the second the odd
// ones (a mask): one instruction each, where in-order widening takes two. ArrangeInput brings the
// inputs into this order.
template <class T>
constexpr int kStepVectors = 1;
template <>
inline constexpr int kStepVectors<hwy::bfloat16_t> = 2;

template <int kVector>
HWY_INLINE V LoadOutput(D d, const float* p) {
  return hn::LoadU(d, p);
}
template <int kVector>
HWY_INLINE V LoadOutput(D d, const hwy::float16_t* p) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), p));
}
template <int kVector>
HWY_INLINE V LoadOutput(D d, const hwy::bfloat16_t* p) {
  const hn::RebindToUnsigned<D> du;
  const auto pairs = hn::LoadU(du, reinterpret_cast<const uint32_t*>(p));
  if constexpr (kVector == 0) return hn::BitCast(d, hn::ShiftLeft<16>(pairs));
  return hn::BitCast(d, hn::And(pairs, hn::Set(du, 0xffff0000u)));
}

// The accumulators of one input row with the four outputs. Named members, not arrays, here and in
// Rows: GCC keeps them in registers.
struct Row {
  V v0, v1, v2, v3;
};

template <int kRows>
struct Rows {
  Rows<kRows - 1> others;
  Row last;
};
template <>
struct Rows<0> {};

HWY_INLINE void Load(D d, const float* scratch, Row& row) {
  const size_t n = hn::Lanes(d);
  row.v0 = hn::Load(d, scratch);
  row.v1 = hn::Load(d, scratch + n);
  row.v2 = hn::Load(d, scratch + 2 * n);
  row.v3 = hn::Load(d, scratch + 3 * n);
}

HWY_INLINE void Save(D d, const Row& row, float* scratch) {
  const size_t n = hn::Lanes(d);
  hn::Store(row.v0, d, scratch);
  hn::Store(row.v1, d, scratch + n);
  hn::Store(row.v2, d, scratch + 2 * n);
  hn::Store(row.v3, d, scratch + 3 * n);
}

// Sums of the four accumulators' lanes. All four see the same order of additions, so a sum does not
// depend on the place of its output in the tile.
HWY_INLINE void Reduce(D d, const Row& row, int valid, float* sums) {
#if HWY_TARGET == HWY_SCALAR
  float four[4] = {hn::GetLane(row.v0), hn::GetLane(row.v1), hn::GetLane(row.v2),
                   hn::GetLane(row.v3)};
  (void)d;
#else
  const hn::Repartition<double, D> d64;
  const V a =
      hn::Add(hn::InterleaveLower(d, row.v0, row.v1), hn::InterleaveUpper(d, row.v0, row.v1));
  const V b =
      hn::Add(hn::InterleaveLower(d, row.v2, row.v3), hn::InterleaveUpper(d, row.v2, row.v3));
  const auto a64 = hn::BitCast(d64, a);
  const auto b64 = hn::BitCast(d64, b);
  // Each block of 128 bits now becomes the four outputs' sums over that block.
  const V blocks = hn::Add(hn::BitCast(d, hn::InterleaveLower(d64, a64, b64)),
                           hn::BitCast(d, hn::InterleaveUpper(d64, a64, b64)));
  HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(blocks, d, lanes);
  HWY_ALIGN float four[4];
  const hn::FixedTag<float, 4> d4;
  auto sum = hn::Load(d4, lanes);
  for (size_t i = 4; i < hn::Lanes(d); i += 4) sum = hn::Add(sum, hn::Load(d4, lanes + i));
  if (valid == 4) {
    hn::StoreU(sum, d4, sums);
    return;
  }
  hn::Store(sum, d4, four);
#endif
  for (int i = 0; i < valid; ++i) sums[i] = four[i];
}

// row += input * outputs, for every row.
template <int kRows>
HWY_INLINE void MulAddRows(D d, const float* const* x, int64_t at, const Row& outputs,
                           Rows<kRows>& rows) {
  if constexpr (kRows > 0) {
    MulAddRows(d, x, at, outputs, rows.others);
    const V input = hn::LoadU(d, x[kRows - 1] + at);
    rows.last.v0 = hn::MulAdd(input, outputs.v0, rows.last.v0);
    rows.last.v1 = hn::MulAdd(input, outputs.v1, rows.last.v1);
    rows.last.v2 = hn::MulAdd(input, outputs.v2, rows.last.v2);
    rows.last.v3 = hn::MulAdd(input, outputs.v3, rows.last.v3);
  }
}

// Vector number kVector of the step at element k.
template <int kVector, int kRows, class T>
HWY_INLINE void StepVector(D d, const T* const* w, const float* const* x, int64_t k,
                           Rows<kRows>& rows) {
  const V w0 = LoadOutput<kVector>(d, w[0] + k);
  const V w1 = LoadOutput<kVector>(d, w[1] + k);
  const V w2 = LoadOutput<kVector>(d, w[2] + k);
  const V w3 = LoadOutput<kVector>(d, w[3] + k);
  const int64_t at = k + kVector * static_cast<int64_t>(hn::Lanes(d));
  MulAddRows(d, x, at, {w0, w1, w2, w3}, rows);
}

// Elements [0, count), whole steps. Prefetches `ahead` elements behind what it reads: one row of
// weights is read faster than the hardware fetches the next.
template <int kRows, class T>
HWY_INLINE void Steps(D d, const T* const* w, const float* const* x, int64_t count, int64_t ahead,
                      Rows<kRows>& rows) {
  const int64_t n = hn::Lanes(d);
  for (int64_t k = 0; k < count; k += kStepVectors<T> * n) {
    hwy::Prefetch(w[0] + k + ahead);
    hwy::Prefetch(w[1] + k + ahead);
    hwy::Prefetch(w[2] + k + ahead);
    hwy::Prefetch(w[3] + k + ahead);
    StepVector<0>(d, w, x, k, rows);
    if constexpr (kStepVectors < T >> 1) StepVector<1>(d, w, x, k, rows);
  }
}

// The last elements, fewer than a step takes, padded with zeros. The inputs are in their own order
// here: ArrangeInput leaves the tail alone.
template <int kRows, class T>
HWY_NOINLINE Rows<kRows> Tail(const TileArgs<T>& args, int64_t begin, Rows<kRows> rows) {
  const D d;
  constexpr int64_t kVectors = kStepVectors<T>;
  constexpr size_t kMaxStep = kVectors * HWY_MAX_BYTES / sizeof(float);
  const int64_t n = hn::Lanes(d);
  const int64_t left = args.count - begin;
  T w[4][kMaxStep] = {};
  float x[kRows][kMaxStep] = {};
  const T* wp[4];
  const float* xp[kRows];
  for (int i = 0; i < 4; ++i) {
    std::memcpy(w[i], args.outputs[i] + begin, left * sizeof(T));
    wp[i] = w[i];
  }
  for (int i = 0; i < kRows; ++i) {
    for (int64_t j = 0; j < left; ++j) {
      x[i][j % kVectors * n + j / kVectors] = args.inputs[i][begin + j];
    }
    xp[i] = x[i];
  }
  Steps<kRows, T>(d, wp, xp, kVectors * n, 0, rows);
  return rows;
}

// Zeros, or what an earlier panel left in scratch.
template <int kRows, class T>
HWY_INLINE void StartRows(D d, const TileArgs<T>& args, Rows<kRows>& rows) {
  if constexpr (kRows > 0) {
    StartRows(d, args, rows.others);
    if (args.first) {
      rows.last.v0 = rows.last.v1 = rows.last.v2 = rows.last.v3 = hn::Zero(d);
    } else {
      Load(d, args.scratch + (kRows - 1) * 4 * hn::Lanes(d), rows.last);
    }
  }
}

template <int kRows, class T>
HWY_INLINE void FinishRows(D d, const TileArgs<T>& args, const Rows<kRows>& rows) {
  if constexpr (kRows > 0) {
    FinishRows(d, args, rows.others);
    if (args.last) {
      Reduce(d, rows.last, args.valid, args.sums + (kRows - 1) * args.sums_stride);
    } else {
      Save(d, rows.last, args.scratch + (kRows - 1) * 4 * hn::Lanes(d));
    }
  }
}

template <int kRows, class T>
HWY_NOINLINE void DotTile(const TileArgs<T>& args) {
  const D d;
  const int64_t step = kStepVectors<T> * static_cast<int64_t>(hn::Lanes(d));
  const int64_t whole = args.count / step * step;
  Rows<kRows> rows;
  StartRows(d, args, rows);
  Steps<kRows, T>(d, args.outputs, args.inputs, whole, args.ahead, rows);
  if (whole < args.count) rows = Tail<kRows, T>(args, whole, rows);
  FinishRows(d, args, rows);
}

}  // namespace HWY_NAMESPACE
}  // namespace skipstone
HWY_AFTER_NAMESPACE();

#endif  // toggle
