#include "engine/cpu/vector_ops.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/vector_ops.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "engine/cpu/promote-inl.h"
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace skipstone {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

constexpr int64_t kMaxLanes = HWY_MAX_BYTES / sizeof(float);

// The tail of a row goes through a buffer, so that every element takes the same instructions.
struct Tail {
  HWY_ALIGN float lanes[kMaxLanes];
};

HWY_INLINE V LoadTail(D d, const float* in, int64_t n, float pad) {
  Tail tail;
  for (float& lane : tail.lanes) lane = pad;
  std::memcpy(tail.lanes, in, n * sizeof(float));
  return hn::Load(d, tail.lanes);
}

HWY_INLINE void StoreTail(D d, V v, int64_t n, float* out) {
  Tail tail;
  hn::Store(v, d, tail.lanes);
  std::memcpy(out, tail.lanes, n * sizeof(float));
}

template <class T>
void Widen(const void* in, int64_t n, float* out) {
  const D d;
  const hn::Rebind<T, D> from;
  const int64_t lanes = hn::Lanes(d);
  const T* p = static_cast<const T*>(in);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(Promote(d, hn::LoadU(from, p + i)), d, out + i);
  if (i == n) return;
  T tail[kMaxLanes] = {};
  std::memcpy(tail, p + i, (n - i) * sizeof(T));
  StoreTail(d, Promote(d, hn::LoadU(from, tail)), n - i, out + i);
}

void ToFloatTarget(const void* in, DType type, int64_t n, float* out) {
  switch (type) {
    case DType::kF32:
      std::memcpy(out, in, n * sizeof(float));
      return;
    case DType::kF16:
      return Widen<hwy::float16_t>(in, n, out);
    case DType::kBF16:
      return Widen<hwy::bfloat16_t>(in, n, out);
  }
}

// 1 / sqrt(mean(in^2) + epsilon) in all lanes.
HWY_INLINE V NormScale(D d, const float* in, float epsilon, int64_t n) {
  const int64_t lanes = hn::Lanes(d);
  const int64_t whole = n / lanes * lanes;
  V sum = hn::Zero(d);
  for (int64_t i = 0; i < whole; i += lanes) {
    const V x = hn::LoadU(d, in + i);
    sum = hn::MulAdd(x, x, sum);
  }
  if (whole < n) {
    const V x = LoadTail(d, in + whole, n - whole, 0.0f);
    sum = hn::MulAdd(x, x, sum);
  }
  const float squares = hn::GetLane(hn::SumOfLanes(d, sum));
  // Where the squares overflow the scale would be 0, and the row zeros that look like a result: it
  // becomes NaN.
  const float overflow = squares - squares;
  return hn::Set(d, 1.0f / std::sqrt(squares / static_cast<float>(n) + epsilon) + overflow);
}

void RmsNormTarget(const float* in, const float* weight, float epsilon, int64_t n, float* out) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const V scale = NormScale(d, in, epsilon, n);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V x = hn::Mul(hn::LoadU(d, in + i), scale);
    hn::StoreU(hn::Mul(x, hn::LoadU(d, weight + i)), d, out + i);
  }
  if (i == n) return;
  const V x = hn::Mul(LoadTail(d, in + i, n - i, 0.0f), scale);
  StoreTail(d, hn::Mul(x, LoadTail(d, weight + i, n - i, 0.0f)), n - i, out + i);
}

template <bool kBias>
void AddScaledNormOf(const float* weight, V norm, const float* scale, const float* bias, int64_t n,
                     float* x) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const auto sum = [&](V in, V w, V s, V b) {
    const V added = hn::MulAdd(hn::Mul(hn::Mul(in, norm), w), s, in);
    return kBias ? hn::Add(added, b) : added;
  };
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V b = kBias ? hn::LoadU(d, bias + i) : hn::Zero(d);
    const V out = sum(hn::LoadU(d, x + i), hn::LoadU(d, weight + i), hn::LoadU(d, scale + i), b);
    hn::StoreU(out, d, x + i);
  }
  if (i == n) return;
  const auto tail = [&](const float* in) { return LoadTail(d, in + i, n - i, 0.0f); };
  const V b = kBias ? tail(bias) : hn::Zero(d);
  StoreTail(d, sum(tail(x), tail(weight), tail(scale), b), n - i, x + i);
}

void AddScaledNormTarget(const float* weight, float epsilon, const float* scale, const float* bias,
                         int64_t n, float* x) {
  const V norm = NormScale(D(), x, epsilon, n);
  if (bias != nullptr) return AddScaledNormOf<true>(weight, norm, scale, bias, n, x);
  AddScaledNormOf<false>(weight, norm, scale, bias, n, x);
}

HWY_INLINE V SwiGluOf(D d, V gate, V up) {
  const V one = hn::Set(d, 1.0f);
  // Highway's Exp overflows into the sign bit beyond its range; at 88 the quotient is 0 to f32.
  const V e = hn::Exp(d, hn::Min(hn::Neg(gate), hn::Set(d, 88.0f)));
  return hn::Mul(hn::Div(gate, hn::Add(one, e)), up);
}

void SwiGluTarget(const float* up, int64_t n, float* gate) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(SwiGluOf(d, hn::LoadU(d, gate + i), hn::LoadU(d, up + i)), d, gate + i);
  }
  if (i == n) return;
  const V g = LoadTail(d, gate + i, n - i, 0.0f);
  StoreTail(d, SwiGluOf(d, g, LoadTail(d, up + i, n - i, 0.0f)), n - i, gate + i);
}

void AddToTarget(const float* in, int64_t n, float* out) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Add(hn::LoadU(d, out + i), hn::LoadU(d, in + i)), d, out + i);
  }
  for (; i < n; ++i) out[i] += in[i];
}

void ScaleTarget(const float* in, float factor, int64_t n, float* out) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const V f = hn::Set(d, factor);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, in + i), f), d, out + i);
  for (; i < n; ++i) out[i] = in[i] * factor;
}

void RotateTarget(const float* cosines, const float* sines, int heads, int half, float* x) {
  // head_dim is a multiple of 8, so half is one of 4.
  const hn::CappedTag<float, 4> d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  for (int h = 0; h < heads; ++h, x += 2 * half) {
    for (int i = 0; i < half; i += lanes) {
      const auto c = hn::LoadU(d, cosines + i);
      const auto s = hn::LoadU(d, sines + i);
      const auto a = hn::LoadU(d, x + i);
      const auto b = hn::LoadU(d, x + half + i);
      hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, x + i);
      hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, x + half + i);
    }
  }
}

float MaxOfTarget(const float* in, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const float lowest = -std::numeric_limits<float>::infinity();
  V max = hn::Set(d, lowest);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) max = hn::Max(max, hn::LoadU(d, in + i));
  if (i < n) max = hn::Max(max, LoadTail(d, in + i, n - i, lowest));
  return hn::GetLane(hn::MaxOfLanes(d, max));
}

Extent ExtentOfTarget(const float* in, int64_t n) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  V max = hn::Set(d, in[0]);
  V differences = hn::Zero(d);  // NaN and infinity minus themselves are NaN, and it stays
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V x = hn::LoadU(d, in + i);
    max = hn::Max(max, x);
    differences = hn::Add(differences, hn::Sub(x, x));
  }
  if (i < n) {
    const V x = LoadTail(d, in + i, n - i, in[i]);
    max = hn::Max(max, x);
    differences = hn::Add(differences, hn::Sub(x, x));
  }
  return {hn::GetLane(hn::MaxOfLanes(d, max)), hn::GetLane(hn::SumOfLanes(d, differences)) == 0.0f};
}

template <bool kStore>
float ExpAndSumOf(const float* in, float max, int64_t n, float* out) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const V shift = hn::Set(d, max);
  V sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V e = hn::Exp(d, hn::Sub(hn::LoadU(d, in + i), shift));
    sum = hn::Add(sum, e);
    if constexpr (kStore) hn::StoreU(e, d, out + i);
  }
  if (i < n) {
    const float lowest = -std::numeric_limits<float>::infinity();
    const V e = hn::Exp(d, hn::Sub(LoadTail(d, in + i, n - i, lowest), shift));
    sum = hn::Add(sum, e);
    if constexpr (kStore) StoreTail(d, e, n - i, out + i);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

float ExpAndSumTarget(const float* in, float max, int64_t n, float* out) {
  return ExpAndSumOf<true>(in, max, n, out);
}

float SumOfExpTarget(const float* in, float max, int64_t n) {
  return ExpAndSumOf<false>(in, max, n, nullptr);
}

DivergenceSums SumsOfDivergenceTarget(const float* p, float max_p, const float* q, float max_q,
                                      int64_t n) {
  // Floats are summed in short blocks, the blocks in double.
  constexpr int64_t kBlock = 128;
  constexpr float kNothing = -1e30f;  // its exponential is 0
  const D d;
  const int64_t lanes = hn::Lanes(d);
  DivergenceSums sums;
  for (int64_t first = 0; first < n; first += kBlock) {
    V sum_p = hn::Zero(d), sum_q = hn::Zero(d), weighted = hn::Zero(d);
    const int64_t end = first + kBlock < n ? first + kBlock : n;
    for (int64_t i = first; i < end; i += lanes) {
      const bool whole = i + lanes <= end;
      const V x = whole ? hn::LoadU(d, p + i) : LoadTail(d, p + i, end - i, kNothing);
      const V y = whole ? hn::LoadU(d, q + i) : LoadTail(d, q + i, end - i, kNothing);
      const V from_p = hn::Sub(x, hn::Set(d, max_p)), from_q = hn::Sub(y, hn::Set(d, max_q));
      const V ex = hn::Exp(d, from_p);
      sum_p = hn::Add(sum_p, ex);
      sum_q = hn::Add(sum_q, hn::Exp(d, from_q));
      weighted = hn::MulAdd(ex, hn::Sub(from_p, from_q), weighted);
    }
    sums.p += hn::GetLane(hn::SumOfLanes(d, sum_p));
    sums.q += hn::GetLane(hn::SumOfLanes(d, sum_q));
    sums.weighted += hn::GetLane(hn::SumOfLanes(d, weighted));
  }
  return sums;
}

}  // namespace HWY_NAMESPACE
}  // namespace skipstone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace skipstone {

HWY_EXPORT(ToFloatTarget);
HWY_EXPORT(RmsNormTarget);
HWY_EXPORT(AddScaledNormTarget);
HWY_EXPORT(SwiGluTarget);
HWY_EXPORT(AddToTarget);
HWY_EXPORT(ScaleTarget);
HWY_EXPORT(RotateTarget);
HWY_EXPORT(MaxOfTarget);
HWY_EXPORT(ExtentOfTarget);
HWY_EXPORT(ExpAndSumTarget);
HWY_EXPORT(SumOfExpTarget);
HWY_EXPORT(SumsOfDivergenceTarget);

void ToFloat(const void* in, DType type, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(ToFloatTarget)(in, type, n, out);
}
void RmsNorm(const float* in, const float* weight, float epsilon, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(RmsNormTarget)(in, weight, epsilon, n, out);
}
void AddScaledNorm(const float* weight, float epsilon, const float* scale, const float* bias,
                   int64_t n, float* x) {
  HWY_DYNAMIC_DISPATCH(AddScaledNormTarget)(weight, epsilon, scale, bias, n, x);
}
void SwiGlu(const float* up, int64_t n, float* gate) {
  HWY_DYNAMIC_DISPATCH(SwiGluTarget)(up, n, gate);
}
void AddTo(const float* in, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(AddToTarget)(in, n, out);
}
void Scale(const float* in, float factor, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(ScaleTarget)(in, factor, n, out);
}
void Rotate(const float* cosines, const float* sines, int heads, int half, float* x) {
  HWY_DYNAMIC_DISPATCH(RotateTarget)(cosines, sines, heads, half, x);
}
float MaxOf(const float* in, int64_t n) { return HWY_DYNAMIC_DISPATCH(MaxOfTarget)(in, n); }
Extent ExtentOf(const float* in, int64_t n) { return HWY_DYNAMIC_DISPATCH(ExtentOfTarget)(in, n); }
float ExpAndSum(const float* in, float max, int64_t n, float* out) {
  return HWY_DYNAMIC_DISPATCH(ExpAndSumTarget)(in, max, n, out);
}
float SumOfExp(const float* in, float max, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(SumOfExpTarget)(in, max, n);
}
DivergenceSums SumsOfDivergence(const float* p, float max_p, const float* q, float max_q,
                                int64_t n) {
  return HWY_DYNAMIC_DISPATCH(SumsOfDivergenceTarget)(p, max_p, q, max_q, n);
}

}  // namespace skipstone
#endif
