#include "tools/sim/time_series.h"

#include <algorithm>
#include <numeric>

namespace skipstone {
namespace {

// Between half as many and this many points: more than a plot has pixels for.
constexpr size_t kMaxBuckets = 512;

}  // namespace

void TimeSeries::Set(Time now, double value) {
  Spread(last_, now, value_);
  last_ = now;
  value_ = value;
  max_ = std::max(max_, value);
}

void TimeSeries::Spread(Time begin, Time end, double value) {
  while (begin < end) {
    const size_t bucket = static_cast<size_t>(begin.time_since_epoch() / width_);
    if (bucket >= kMaxBuckets) {
      for (size_t i = 0; i < kMaxBuckets / 2; ++i) {
        integrals_[i] = integrals_[2 * i] + integrals_[2 * i + 1];
      }
      integrals_.resize(kMaxBuckets / 2);
      width_ *= 2;
      continue;
    }
    const Time stop = std::min(end, Time((bucket + 1) * width_));
    if (bucket >= integrals_.size()) integrals_.resize(bucket + 1);
    integrals_[bucket] += value * Seconds(stop - begin);
    begin = stop;
  }
}

double TimeSeries::mean() const {
  const double seconds = Seconds(last_.time_since_epoch());
  return seconds > 0 ? std::accumulate(integrals_.begin(), integrals_.end(), 0.0) / seconds : 0;
}

std::vector<std::pair<double, double>> TimeSeries::Points() const {
  std::vector<std::pair<double, double>> points;
  const Duration total = last_.time_since_epoch();
  for (size_t i = 0; i < integrals_.size(); ++i) {
    const Duration begin = static_cast<int64_t>(i) * width_;
    const Duration covered = std::min(width_, total - begin);
    points.emplace_back(Seconds(begin + covered / 2), integrals_[i] / Seconds(covered));
  }
  return points;
}

}  // namespace skipstone
