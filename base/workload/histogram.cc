#include "base/workload/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace skipstone {
namespace {

constexpr double kSmallest = 0x1p-30;
// Of a double's 52 mantissa bits the upper 7 number the bucket, together with the exponent.
constexpr int kShift = 52 - 7;
const uint64_t kFirst = std::bit_cast<uint64_t>(kSmallest) >> kShift;

double UpperEnd(size_t bucket) { return std::bit_cast<double>((kFirst + bucket + 1) << kShift); }

}  // namespace

void Histogram::Add(double seconds) {
  const double value = std::max(seconds, kSmallest);
  const size_t bucket = (std::bit_cast<uint64_t>(value) >> kShift) - kFirst;
  if (bucket >= buckets_.size()) buckets_.resize(bucket + 1);
  ++buckets_[bucket];
  ++count_;
  sum_ += seconds;
  max_ = std::max(max_, seconds);
}

void Histogram::Merge(const Histogram& other) {
  buckets_.resize(std::max(buckets_.size(), other.buckets_.size()));
  for (size_t i = 0; i < other.buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

double Histogram::mean() const { return sum_ / static_cast<double>(count_); }

double Histogram::max() const {
  return count_ > 0 ? max_ : std::numeric_limits<double>::quiet_NaN();
}

double Histogram::Percentile(double p) const {
  const double rank = p / 100 * static_cast<double>(count_);
  int64_t below = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    below += buckets_[i];
    if (buckets_[i] > 0 && static_cast<double>(below) >= rank) return std::min(UpperEnd(i), max_);
  }
  return max();
}

std::vector<std::pair<double, double>> Histogram::Cumulative(double scale) const {
  std::vector<std::pair<double, double>> points;
  int64_t below = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    if (buckets_[i] == 0) continue;
    below += buckets_[i];
    points.emplace_back(scale * std::min(UpperEnd(i), max_),
                        static_cast<double>(below) / static_cast<double>(count_));
  }
  return points;
}

}  // namespace skipstone
