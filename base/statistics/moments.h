// Running sums of what units measured, mergeable in any order: a worker's, a replica's, a file's.
//
//   Moments<2> ratio;                // numerator and denominator of each unit
//   ratio.Add({cost, tokens});
//   ratio.Merge(of_another_replica);
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace skipstone::statistics {

// Count, means and centred co-moments of K values a unit: Welford's update and the merge of Chan,
// Golub and LeVeque (1983), which keep the digits that sums of squares lose. Plain data, also as it
// is stored; no lock.
template <size_t K>
struct Moments {
  int64_t n = 0;
  std::array<double, K> mean = {};
  // Sum over units of (x_i - mean_i)(x_j - mean_j) for i <= j: (0,0), (0,1), (1,1), (0,2), ...
  std::array<double, K*(K + 1) / 2> comoment = {};

  static constexpr size_t Index(size_t i, size_t j) {
    return std::max(i, j) * (std::max(i, j) + 1) / 2 + std::min(i, j);
  }

  void Add(const std::array<double, K>& values) {
    ++n;
    std::array<double, K> before;  // distances to the old means
    for (size_t i = 0; i < K; ++i) {
      before[i] = values[i] - mean[i];
      mean[i] += before[i] / n;
    }
    for (size_t j = 0; j < K; ++j) {
      for (size_t i = 0; i <= j; ++i) comoment[Index(i, j)] += before[i] * (values[j] - mean[j]);
    }
  }

  void Merge(const Moments& other) {
    if (other.n == 0) return;
    const double total = static_cast<double>(n) + other.n;
    const double share = other.n / total;
    std::array<double, K> between;
    for (size_t i = 0; i < K; ++i) between[i] = other.mean[i] - mean[i];
    for (size_t j = 0; j < K; ++j) {
      for (size_t i = 0; i <= j; ++i) {
        comoment[Index(i, j)] += other.comoment[Index(i, j)] + between[i] * between[j] * n * share;
      }
    }
    for (size_t i = 0; i < K; ++i) mean[i] += between[i] * share;
    n += other.n;
  }

  // Unbiased; for n >= 2.
  double Covariance(size_t i, size_t j) const { return comoment[Index(i, j)] / (n - 1); }
  double Variance(size_t i) const { return Covariance(i, i); }

  // No NaN or infinite value was added.
  bool IsFinite() const {
    const auto is_finite = [](double x) { return std::isfinite(x); };
    return std::all_of(mean.begin(), mean.end(), is_finite) &&
           std::all_of(comoment.begin(), comoment.end(), is_finite);
  }
};

}  // namespace skipstone::statistics
