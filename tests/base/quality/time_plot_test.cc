#include "base/quality/time_plot.h"

#include <algorithm>
#include <cmath>
#include <regex>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::quality {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// The heights of a path with that style.
std::vector<double> Heights(const std::string& svg, const std::string& style) {
  const size_t begin = svg.find("class=\"" + style + "\" d=\"");
  const std::string path = svg.substr(begin, svg.find("/>", begin) - begin);
  std::vector<double> heights;
  const std::regex point("[ML][0-9.-]+ ([0-9.-]+)");
  for (std::sregex_iterator it(path.begin(), path.end(), point), end; it != end; ++it) {
    heights.push_back(std::stod((*it)[1]));
  }
  return heights;
}

TEST(TimePlotTest, ABandNarrowsAroundItsLine) {
  std::vector<BandPoint> points;
  for (int i = 1; i <= 10; ++i) points.push_back({1.0 * i, -5, -5 - 4.0 / i, -5 + 4.0 / i});
  const std::string svg = BandPlot(points, "days", "change, %");
  const auto band = Heights(svg, "band");
  const auto line = Heights(svg, "line");
  ASSERT_EQ(line.size(), 10u);
  ASSERT_EQ(band.size(), 20u) << "there and back";
  EXPECT_LT(band[9] - band[10], 0) << "up is less";
  EXPECT_GT(std::abs(band[0] - band[19]), std::abs(band[9] - band[10]));
  for (const double height : line) EXPECT_EQ(height, line[0]);
  EXPECT_THAT(svg, AllOf(HasSubstr("class=\"zero\""), HasSubstr(">days</text>"),
                         HasSubstr(">change, %</text>")));
}

TEST(TimePlotTest, AFirstIntervalFarTooWideDoesNotFlattenTheRest) {
  const std::string svg =
      BandPlot({{0, 0, -1e6, 1e6}, {1, -5, -6, -4}, {2, -5, -6, -4}}, "days", "y");
  const auto band = Heights(svg, "band");
  EXPECT_GT(band[3] - band[2], 10) << "the last interval can still be seen";
}

TEST(TimePlotTest, OnePointIsNoBand) {
  EXPECT_EQ(BandPlot({}, "x", "y"), "");
  EXPECT_EQ(BandPlot({{0, 1, 0, 2}, {1, std::nan(""), 0, 1}}, "x", "y"), "");
}

TEST(TimePlotTest, PointsHaveTheColourOfTheirGroup) {
  const std::string svg = GroupPlot({{0, 1, 0}, {1, 2, 1}, {2, std::nan(""), 0}, {3, 3, 9}},
                                    {"<a>", "b"}, "min", "ITL");
  EXPECT_THAT(svg, AllOf(HasSubstr("class=\"group0\""), HasSubstr("class=\"group1\""),
                         HasSubstr("&lt;a&gt;"), Not(HasSubstr("nan"))));
  EXPECT_EQ(GroupPlot({{0, 1, 0}}, {"a"}, "x", "y"), "");
}

}  // namespace
}  // namespace skipstone::quality
