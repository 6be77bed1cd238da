// Line plots as SVG text: two in a row, with axes, round tick marks and a legend.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace skipstone {

struct PlotLine {
  std::string name;                               // empty: not in the legend
  std::vector<std::pair<double, double>> points;  // ascending x; finite
};

// The y axis begins at 0.
struct Plot {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool log_x = false;  // all x must be above 0
  std::vector<PlotLine> lines;
};

std::string PlotsToSvg(const std::vector<Plot>& plots);

// About `count` round numbers that cover [low, high], at least two; on a logarithmic axis 1, 2 and
// 5 times powers of ten, or over more than `count` powers those alone.
std::vector<double> RoundTicks(double low, double high, int count);
std::vector<double> LogTicks(double low, double high, int count);

}  // namespace skipstone
