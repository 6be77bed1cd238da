// A picture (SVG) of points of which less is better both ways: which are worth having, and names
// that do not lie on each other.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace skipstone::quality {

struct PlotPoint {
  std::string label;  // any text
  double x = 0;
  double y = 0;
  double low = 0;  // interval of y; none where it is not below `high`
  double high = 0;
};

// No other point is at most as large in both and smaller in one; equal points are both kept. In
// ascending x. Points that are not finite are left out.
std::vector<size_t> ParetoFront(const std::vector<PlotPoint>& points);

// An <svg> element that takes its colours from the style of html_page.h. The y axis is logarithmic
// where `log_y` and the values, all > 0, differ by more than a factor of 4. A label for which there
// is no room is left out: its point still tells it under the pointer. Empty for less than two
// finite points.
std::string ParetoPlot(const std::vector<PlotPoint>& points, const std::string& x_title,
                       const std::string& y_title, bool log_y);

}  // namespace skipstone::quality
