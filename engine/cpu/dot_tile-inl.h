// A register tile of up to kTileRows x 4 dot products, for dot_block.cc. Compiled once per
// instruction set: no ordinary include guard.
#if defined(SKIPSTONE_DOT_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SKIPSTONE_DOT_TILE_INL_H_
#undef SKIPSTONE_DOT_TILE_INL_H_
#else
#define SKIPSTONE_DOT_TILE_INL_H_
#endif

#include <cstring>

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
  bool first;      // start from zero, not from scratch
  bool last;       // reduce to sums, do not save to scratch
  int valid;       // outputs to store
  float* scratch;  // rows x 4 vectors
  float* sums;     // [rows][sums_stride]
  int64_t sums_stride;
};

HWY_INLINE V LoadOutput(D d, const float* p) { return hn::LoadU(d, p); }
HWY_INLINE V LoadOutput(D d, const hwy::float16_t* p) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), p));
}
HWY_INLINE V LoadOutput(D d, const hwy::bfloat16_t* p) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::bfloat16_t, D>(), p));
}

// The accumulators of one input row. Named members, not an array: GCC keeps them in registers.
struct Row {
  V v0, v1, v2, v3;
};

HWY_INLINE void Start(D d, const float* scratch, bool first, Row& row) {
  if (first) {
    row.v0 = row.v1 = row.v2 = row.v3 = hn::Zero(d);
    return;
  }
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

struct Outputs {
  V v0, v1, v2, v3;
};

HWY_INLINE void Step(D d, const Outputs& w, const float* input, Row& row) {
  const V x = hn::LoadU(d, input);
  row.v0 = hn::MulAdd(x, w.v0, row.v0);
  row.v1 = hn::MulAdd(x, w.v1, row.v1);
  row.v2 = hn::MulAdd(x, w.v2, row.v2);
  row.v3 = hn::MulAdd(x, w.v3, row.v3);
}

template <int kRows, class T>
HWY_INLINE void Steps(D d, const T* const* w, const float* const* x, int64_t begin, int64_t end,
                      Row* HWY_RESTRICT rows) {
  const int64_t n = hn::Lanes(d);
  Row r0 = rows[0], r1, r2, r3, r4, r5;
  if constexpr (kRows > 1) r1 = rows[1];
  if constexpr (kRows > 2) r2 = rows[2];
  if constexpr (kRows > 3) r3 = rows[3];
  if constexpr (kRows > 4) r4 = rows[4];
  if constexpr (kRows > 5) r5 = rows[5];
  for (int64_t k = begin; k < end; k += n) {
    const Outputs o{LoadOutput(d, w[0] + k), LoadOutput(d, w[1] + k), LoadOutput(d, w[2] + k),
                    LoadOutput(d, w[3] + k)};
    Step(d, o, x[0] + k, r0);
    if constexpr (kRows > 1) Step(d, o, x[1] + k, r1);
    if constexpr (kRows > 2) Step(d, o, x[2] + k, r2);
    if constexpr (kRows > 3) Step(d, o, x[3] + k, r3);
    if constexpr (kRows > 4) Step(d, o, x[4] + k, r4);
    if constexpr (kRows > 5) Step(d, o, x[5] + k, r5);
  }
  rows[0] = r0;
  if constexpr (kRows > 1) rows[1] = r1;
  if constexpr (kRows > 2) rows[2] = r2;
  if constexpr (kRows > 3) rows[3] = r3;
  if constexpr (kRows > 4) rows[4] = r4;
  if constexpr (kRows > 5) rows[5] = r5;
}

// The last elements, fewer than a vector, padded with zeros.
template <int kRows, class T>
HWY_NOINLINE void Tail(const TileArgs<T>& args, int64_t begin, Row* rows) {
  const D d;
  constexpr size_t kMaxLanes = HWY_MAX_BYTES / sizeof(float);
  const size_t left = args.count - begin;
  T w[4][kMaxLanes] = {};
  float x[kRows][kMaxLanes] = {};
  const T* wp[4];
  const float* xp[kRows];
  for (int i = 0; i < 4; ++i) {
    std::memcpy(w[i], args.outputs[i] + begin, left * sizeof(T));
    wp[i] = w[i];
  }
  for (int i = 0; i < kRows; ++i) {
    std::memcpy(x[i], args.inputs[i] + begin, left * sizeof(float));
    xp[i] = x[i];
  }
  Steps<kRows, T>(d, wp, xp, 0, 1, rows);
}

template <int kRows, class T>
HWY_NOINLINE void DotTile(const TileArgs<T>& args) {
  const D d;
  const int64_t n = hn::Lanes(d);
  const int64_t whole = args.count / n * n;
  Row rows[kRows];
  for (int r = 0; r < kRows; ++r) Start(d, args.scratch + r * 4 * n, args.first, rows[r]);
  Steps<kRows, T>(d, args.outputs, args.inputs, 0, whole, rows);
  if (whole < args.count) Tail<kRows, T>(args, whole, rows);
  for (int r = 0; r < kRows; ++r) {
    if (args.last) {
      Reduce(d, rows[r], args.valid, args.sums + r * args.sums_stride);
    } else {
      Save(d, rows[r], args.scratch + r * 4 * n);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace skipstone
HWY_AFTER_NAMESPACE();

#endif  // toggle
