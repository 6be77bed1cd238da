// 16-bit vectors as f32. Compiled once per instruction set: no ordinary include guard.
#if defined(SKIPSTONE_PROMOTE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SKIPSTONE_PROMOTE_INL_H_
#undef SKIPSTONE_PROMOTE_INL_H_
#else
#define SKIPSTONE_PROMOTE_INL_H_
#endif

#include <limits>
#include <type_traits>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace skipstone {
namespace HWY_NAMESPACE {

// As Highway's PromoteTo. Where x86 has no instruction for f16 that one takes infinity and NaN for
// finite numbers from 65536 on, which f16 does not have: here both are NaN then, so that they show.
template <class DF, class V16>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<DF> Promote(DF d, V16 v) {
  namespace hn = hwy::HWY_NAMESPACE;
  const auto wide = hn::PromoteTo(d, v);
#if HWY_ARCH_X86 && HWY_TARGET >= HWY_SSE4
  if constexpr (std::is_same_v<hn::TFromV<V16>, hwy::float16_t>) {
    const auto nan = hn::Set(d, std::numeric_limits<float>::quiet_NaN());
    return hn::IfThenElse(hn::Lt(hn::Abs(wide), hn::Set(d, 65536.0f)), wide, nan);
  }
#endif
  return wide;
}

}  // namespace HWY_NAMESPACE
}  // namespace skipstone
HWY_AFTER_NAMESPACE();

#endif  // toggle
