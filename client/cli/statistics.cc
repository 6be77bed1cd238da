#include "client/cli/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace skipstone::client {

double Percentile(const std::vector<float>& sorted, double p) {
  if (sorted.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double rank = p / 100 * (sorted.size() - 1);
  const size_t below = static_cast<size_t>(std::floor(rank));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(static_cast<double>(sorted[below]), static_cast<double>(sorted[above]),
                   rank - below);
}

Summary Summarize(std::vector<float> values) {
  std::sort(values.begin(), values.end());
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {.count = values.size(),
          .mean = sum / values.size(),
          .p50 = Percentile(values, 50),
          .p90 = Percentile(values, 90),
          .p99 = Percentile(values, 99),
          .max = Percentile(values, 100)};
}

}  // namespace skipstone::client
