#include "engine/cpu/attend_values.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/cpu/simd.h"
#include "engine/cpu/vector_ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/cpu/attend_values.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace skipstone {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// output[0..4 vectors) = output * correction + sum over t of weights[t] * values[t].
template <class D>
HWY_INLINE void AddFourVectors(D d, float correction, int n, const float* weights,
                               const float* const* values, int64_t at, float* output) {
  const int64_t lanes = hn::Lanes(d);
  const auto c = hn::Set(d, correction);
  auto v0 = hn::Mul(hn::LoadU(d, output + at), c);
  auto v1 = hn::Mul(hn::LoadU(d, output + at + lanes), c);
  auto v2 = hn::Mul(hn::LoadU(d, output + at + 2 * lanes), c);
  auto v3 = hn::Mul(hn::LoadU(d, output + at + 3 * lanes), c);
  for (int t = 0; t < n; ++t) {
    const auto w = hn::Set(d, weights[t]);
    const float* v = values[t] + at;
    v0 = hn::MulAdd(w, hn::LoadU(d, v), v0);
    v1 = hn::MulAdd(w, hn::LoadU(d, v + lanes), v1);
    v2 = hn::MulAdd(w, hn::LoadU(d, v + 2 * lanes), v2);
    v3 = hn::MulAdd(w, hn::LoadU(d, v + 3 * lanes), v3);
  }
  hn::StoreU(v0, d, output + at);
  hn::StoreU(v1, d, output + at + lanes);
  hn::StoreU(v2, d, output + at + 2 * lanes);
  hn::StoreU(v3, d, output + at + 3 * lanes);
}

void AddValuesTarget(float correction, int n, const float* weights, const float* const* values,
                     int head_dim, float* output) {
  const hn::ScalableTag<float> d;
  const int64_t wide = 4 * hn::Lanes(d);
  int64_t at = 0;
  for (; at + wide <= head_dim; at += wide) {
    AddFourVectors(d, correction, n, weights, values, at, output);
  }
  // head_dim is a multiple of 8: what is left comes in eights.
  const hn::CappedTag<float, 2> d2;
  for (; at < head_dim; at += 4 * hn::Lanes(d2)) {
    AddFourVectors(d2, correction, n, weights, values, at, output);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace skipstone
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace skipstone {

HWY_EXPORT(AddValuesTarget);

void MergeBlock(int n, float* scores, const float* const* values, int head_dim,
                SoftmaxState& state) {
  // Whole vectors: a tail takes as long as four of them. exp(-infinity) adds nothing.
  const int padded = (n + kScoreUnit - 1) / kScoreUnit * kScoreUnit;
  std::fill(scores + n, scores + padded, -std::numeric_limits<float>::infinity());
  const float max = std::max(state.max, MaxOf(scores, padded));
  const float correction = std::exp(state.max - max);
  state.max = max;
  state.sum = state.sum * correction + ExpAndSum(scores, max, padded, scores);
  HWY_DYNAMIC_DISPATCH(AddValuesTarget)(correction, n, scores, values, head_dim, state.output);
}

}  // namespace skipstone
#endif
