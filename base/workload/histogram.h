// Mean, maximum and percentiles of any number of durations in bounded memory. Buckets are 1/128 of
// a power of two wide: a percentile is off by 0.8 % at most; count, mean and maximum are exact.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace skipstone {

class Histogram {
 public:
  // Values below 2^-30 s (a nanosecond) count as that.
  void Add(double seconds);
  void Merge(const Histogram& other);

  int64_t count() const { return count_; }
  double mean() const;  // of an empty histogram: NaN, as all below
  double max() const;
  // 0 <= p <= 100; the upper end of the bucket that holds the value of this rank, at most max().
  double Percentile(double p) const;
  // (value times `scale`, fraction of the values that are not above it), ascending; for plots.
  std::vector<std::pair<double, double>> Cumulative(double scale = 1) const;

 private:
  std::vector<int64_t> buckets_;
  int64_t count_ = 0;
  double sum_ = 0;
  double max_ = 0;
};

}  // namespace skipstone
