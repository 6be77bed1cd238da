// An interval of a report.
#pragma once

namespace skipstone::statistics {

// Closed; a side without a bound is infinite.
struct Interval {
  double low = 0;
  double high = 0;

  bool Contains(double value) const { return low <= value && value <= high; }
};

}  // namespace skipstone::statistics
