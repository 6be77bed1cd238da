#include "engine/cpu/divergence.h"

#include <cmath>
#include <cstdint>

#include "engine/cpu/vector_ops.h"

namespace skipstone {

float KlDivergence(std::span<const float> p, std::span<const float> q) {
  const auto n = static_cast<int64_t>(p.size());
  const float max_p = MaxOf(p.data(), n);
  const float max_q = MaxOf(q.data(), n);
  const DivergenceSums sums = SumsOfDivergence(p.data(), max_p, q.data(), max_q, n);
  const double kl = sums.weighted / sums.p - std::log(sums.p) + std::log(sums.q);
  return static_cast<float>(kl < 0 ? 0 : kl);  // keeps NaN
}

}  // namespace skipstone
