// A quantity that changes at instants, over simulated time: its exact time-weighted mean and
// maximum, and a bounded number of points for a plot.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace skipstone {

class TimeSeries {
 public:
  // The value is 0 at first, and from `now` on `value`. Times must not go back.
  void Set(Time now, double value);

  // Over [Time{}, the last Set); 0 if that is empty.
  double mean() const;
  double max() const { return max_; }
  // (seconds, mean of the value around then), ascending, evenly spaced.
  std::vector<std::pair<double, double>> Points() const;

 private:
  void Spread(Time begin, Time end, double value);

  Duration width_ = std::chrono::milliseconds(1);  // of a bucket; doubles as time goes on
  std::vector<double> integrals_;                  // value x seconds, by bucket
  Time last_{};
  double value_ = 0;
  double max_ = 0;
};

}  // namespace skipstone
