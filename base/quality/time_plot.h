// A picture (SVG) of values over time: an estimate within its interval, and points of several
// groups.
#pragma once

#include <string>
#include <vector>

namespace skipstone::quality {

struct BandPoint {
  double x = 0;
  double value = 0;
  double low = 0;
  double high = 0;
};

// A line within a band, about a marked 0. `points` in ascending x; those that are not finite are
// left out; empty for less than two. An interval that is many times wider than the last one, as the
// first ones are, leaves the picture at its edge.
std::string BandPlot(const std::vector<BandPoint>& points, const std::string& x_title,
                     const std::string& y_title);

struct GroupPoint {
  double x = 0;
  double y = 0;
  size_t group = 0;
};

// `groups`: their names, which are any text. Empty for less than two finite points.
std::string GroupPlot(const std::vector<GroupPoint>& points, const std::vector<std::string>& groups,
                      const std::string& x_title, const std::string& y_title);

}  // namespace skipstone::quality
