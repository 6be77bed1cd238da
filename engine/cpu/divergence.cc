#include "engine/cpu/divergence.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "engine/cpu/vector_ops.h"

namespace skipstone {
namespace {

// Fixed, so that sums come out the same on every machine; compilers make vectors of them.
constexpr size_t kLanes = 8;

double Sum(std::span<const float> x) {
  std::array<double, kLanes> lanes = {};
  for (size_t i = 0; i < x.size(); ++i) lanes[i % kLanes] += x[i];
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

float KlDivergence(std::span<const float> p, std::span<const float> q, std::span<float> scratch) {
  const auto n = static_cast<int64_t>(p.size());
  const float max_q = MaxOf(q.data(), n);
  ExpAndSum(q.data(), max_q, n, scratch.data());
  const double sum_q = Sum(scratch.first(p.size()));
  const float max_p = MaxOf(p.data(), n);
  ExpAndSum(p.data(), max_p, n, scratch.data());
  const double sum_p = Sum(scratch.first(p.size()));
  std::array<double, kLanes> lanes = {};
  for (size_t i = 0; i < p.size(); ++i) {
    lanes[i % kLanes] += static_cast<double>(scratch[i]) * (static_cast<double>(p[i]) - q[i]);
  }
  double weighted = 0;
  for (const double lane : lanes) weighted += lane;
  const double kl = weighted / sum_p - (max_p + std::log(sum_p)) + (max_q + std::log(sum_q));
  return static_cast<float>(kl < 0 ? 0 : kl);  // keeps NaN
}

}  // namespace skipstone
