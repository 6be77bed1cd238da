// One axis of a picture: where values lie, and which are written beside it.
#pragma once

#include <string>
#include <vector>

namespace skipstone::quality {

// Linear or logarithmic over the values and a little more.
class PlotAxis {
 public:
  // At least one value, all finite. Logarithmic where `log`, all are > 0 and they differ by more
  // than a factor of 4. `begin` and `end`: coordinates of the smallest and the largest value.
  PlotAxis(const std::vector<double>& values, bool log, double begin, double end);

  double At(double value) const;
  bool log() const { return log_; }
  // Round values within the axis, ascending: two to ten.
  std::vector<double> Ticks() const;
  // "0.25", "20000".
  static std::string TickText(double value);

 private:
  double low_ = 0;  // of log10 where logarithmic
  double high_ = 0;
  bool log_;
  double begin_;
  double end_;
};

}  // namespace skipstone::quality
