#include "base/quality/plot_axis.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"

namespace skipstone::quality {
namespace {

constexpr double kLeastLogRatio = 4;
constexpr double kPadding = 0.08;  // of the axis at each end, so that no point lies on the frame

// 1, 2 or 5 times a power of ten, at least `least`.
double RoundStep(double least) {
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double step : {1.0, 2.0, 5.0}) {
    if (step * power >= least * (1 - 1e-9)) return step * power;
  }
  return 10 * power;
}

std::vector<double> LinearTicks(double low, double high) {
  const double step = RoundStep((high - low) / 6);
  std::vector<double> ticks;
  for (double i = std::ceil(low / step); i * step <= high; ++i) ticks.push_back(i * step);
  return ticks;
}

// Decades, with steps between them where there is room.
std::vector<double> LogTicks(double low, double high) {
  const double decades = high - low;
  std::vector<double> steps = {1, 2, 5};
  if (decades > 3) steps = {1, 3};
  if (decades > 5) steps = {1};
  const double every = std::max(1.0, std::ceil(decades / 10));
  std::vector<double> ticks;
  for (double i = std::floor(low / every) * every; i <= high; i += every) {
    for (const double step : steps) {
      const double place = i + std::log10(step);
      if (place >= low && place <= high) ticks.push_back(step * std::pow(10, i));
    }
  }
  return ticks;
}

}  // namespace

PlotAxis::PlotAxis(const std::vector<double>& values, bool log, double begin, double end)
    : begin_(begin), end_(end) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  log_ = log && *least > 0 && *most / *least > kLeastLogRatio;
  low_ = log_ ? std::log10(*least) : *least;
  high_ = log_ ? std::log10(*most) : *most;
  double padding = kPadding * (high_ - low_);
  // Values that are all the same, or nearly so, would leave no axis.
  const double size = std::max(std::abs(low_), std::abs(high_));
  if (padding <= 1e-6 * size || padding == 0) padding = size > 0 ? 0.1 * size : 1;
  low_ -= padding;
  high_ += padding;
}

double PlotAxis::At(double value) const {
  const double place = ((log_ ? std::log10(value) : value) - low_) / (high_ - low_);
  return begin_ + place * (end_ - begin_);
}

std::vector<double> PlotAxis::Ticks() const {
  return log_ ? LogTicks(low_, high_) : LinearTicks(low_, high_);
}

std::string PlotAxis::TickText(double value) {
  if (std::abs(value) < 1e-12) return "0";
  if (std::abs(value) >= 1e3 && std::abs(value) < 1e9) return absl::StrFormat("%.0f", value);
  return absl::StrFormat("%.4g", value);
}

}  // namespace skipstone::quality
