// What a register tile of dot products is made of: weights as f32 vectors, columns of rows, and
// sums over lanes. Compiled once per instruction set: no ordinary include guard.
#if defined(SKIPSTONE_DOT_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SKIPSTONE_DOT_VECTORS_INL_H_
#undef SKIPSTONE_DOT_VECTORS_INL_H_
#else
#define SKIPSTONE_DOT_VECTORS_INL_H_
#endif

#include "hwy/cache_control.h"
#include "hwy/highway.h"

#include "engine/cpu/promote-inl.h"

HWY_BEFORE_NAMESPACE();
namespace skipstone {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// Vectors that one step takes of each row, so that a step loads whole vectors of T: bf16 comes in
// pairs. Of a block of 2 n elements the first vector is the even ones (a shift), the second the odd
// ones (a mask): one instruction each, where in-order widening takes two. ArrangeInput brings the
// inputs into this order.
template <class T>
constexpr int kStepVectors = 1;
template <>
inline constexpr int kStepVectors<hwy::bfloat16_t> = 2;

template <class T>
HWY_INLINE int64_t StepElements() {
  return kStepVectors<T> * static_cast<int64_t>(hn::Lanes(D()));
}

// Vector number kVector of the step at p.
template <int kVector>
HWY_INLINE V LoadOutput(D d, const float* p) {
  return hn::LoadU(d, p);
}
template <int kVector>
HWY_INLINE V LoadOutput(D d, const hwy::float16_t* p) {
  return Promote(d, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), p));
}
template <int kVector>
HWY_INLINE V LoadOutput(D d, const hwy::bfloat16_t* p) {
  const hn::RebindToUnsigned<D> du;
  const auto pairs = hn::LoadU(du, reinterpret_cast<const uint32_t*>(p));
  if constexpr (kVector == 0) return hn::BitCast(d, hn::ShiftLeft<16>(pairs));
  return hn::BitCast(d, hn::And(pairs, hn::Set(du, 0xffff0000u)));
}

HWY_INLINE float ToFloat(float x) { return x; }
HWY_INLINE float ToFloat(const hwy::float16_t& x) {
  const hn::CappedTag<float, 1> d;
  return hn::GetLane(Promote(d, hn::LoadU(hn::Rebind<hwy::float16_t, decltype(d)>(), &x)));
}
HWY_INLINE float ToFloat(hwy::bfloat16_t x) { return hwy::F32FromBF16(x); }

// wide[i] = the weight that meets element i of an arranged input: steps in their own order, the
// rest, less than a step, in the order of the elements. Prefetches `ahead` elements further on.
template <class T>
HWY_INLINE void Widen(const T* row, int64_t count, int64_t ahead, float* wide) {
  const D d;
  const int64_t step = StepElements<T>();
  int64_t k = 0;
  for (; k + step <= count; k += step) {
    hwy::Prefetch(row + k + ahead);
    hn::StoreU(LoadOutput<0>(d, row + k), d, wide + k);
    if constexpr (kStepVectors < T >> 1) {
      hn::StoreU(LoadOutput<1>(d, row + k), d, wide + k + hn::Lanes(d));
    }
  }
  for (; k < count; ++k) wide[k] = ToFloat(row[k]);
}

// One vector per row: named members, not an array, so that GCC keeps them in registers.
template <int kRows>
struct Column {
  Column<kRows - 1> others;
  V last;
};
template <>
struct Column<0> {};

template <int kRows>
HWY_INLINE void LoadInputs(D d, const float* const* x, int64_t at, Column<kRows>& inputs) {
  if constexpr (kRows > 0) {
    LoadInputs(d, x, at, inputs.others);
    inputs.last = hn::LoadU(d, x[kRows - 1] + at);
  }
}

template <int kRows>
HWY_INLINE void MulAddColumn(const Column<kRows>& inputs, V output, Column<kRows>& sums) {
  if constexpr (kRows > 0) {
    MulAddColumn(inputs.others, output, sums.others);
    sums.last = hn::MulAdd(inputs.last, output, sums.last);
  }
}

// sums[i] = the lanes of vi, for i < valid. All four see the same order of additions, so a sum does
// not depend on the place of its output in the tile.
HWY_INLINE void SumLanes(D d, V v0, V v1, V v2, V v3, int valid, float* sums) {
#if HWY_TARGET == HWY_SCALAR
  float four[4] = {hn::GetLane(v0), hn::GetLane(v1), hn::GetLane(v2), hn::GetLane(v3)};
  (void)d;
#else
  const hn::Repartition<double, D> d64;
  const V a = hn::Add(hn::InterleaveLower(d, v0, v1), hn::InterleaveUpper(d, v0, v1));
  const V b = hn::Add(hn::InterleaveLower(d, v2, v3), hn::InterleaveUpper(d, v2, v3));
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

}  // namespace HWY_NAMESPACE
}  // namespace skipstone
HWY_AFTER_NAMESPACE();

#endif  // toggle
