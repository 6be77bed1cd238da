#include "base/quality/pareto_plot.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::quality {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::vector<PlotPoint> Points(const std::vector<std::pair<double, double>>& places) {
  std::vector<PlotPoint> points;
  for (const auto& [x, y] : places) points.push_back({"p" + std::to_string(points.size()), x, y});
  return points;
}

TEST(ParetoFrontTest, KeepsWhatNoOtherBeats) {
  EXPECT_THAT(ParetoFront(Points({{10, 1}, {5, 2}, {7, 3}, {1, 9}, {5, 4}})), ElementsAre(3, 1, 0));
}

TEST(ParetoFrontTest, EqualPointsAreBothKept) {
  EXPECT_THAT(ParetoFront(Points({{1, 1}, {1, 1}, {1, 2}})), ElementsAre(0, 1));
}

TEST(ParetoFrontTest, WhatIsNotFiniteNeitherCountsNorBeats) {
  const double nan = std::nan("");
  EXPECT_THAT(ParetoFront(Points({{1, nan}, {nan, 0}, {3, -INFINITY}, {2, 2}})), ElementsAre(3));
  EXPECT_THAT(ParetoFront({}), IsEmpty());
}

TEST(ParetoPlotTest, ShowsPointsLabelsAndAxes) {
  const std::string svg = ParetoPlot(Points({{10, 30}, {8, 500}, {9, 600}}), "ms", "ppl", true);
  EXPECT_THAT(svg, AllOf(HasSubstr(">p0</text>"), HasSubstr(">p1</text>"), HasSubstr(">p2</text>"),
                         HasSubstr(">ms</text>"), HasSubstr(">ppl (logarithmic)</text>"),
                         HasSubstr("<title>p1: 8, 500</title>")));
  size_t best = 0;
  for (size_t at = 0; (at = svg.find("class=\"best\"", at)) != std::string::npos; ++at) ++best;
  EXPECT_EQ(best, 2);
  EXPECT_THAT(svg, Not(HasSubstr("class=\"interval\"")));
}

TEST(ParetoPlotTest, IntervalsAreLines) {
  std::vector<PlotPoint> points = Points({{10, 30}, {8, 40}});
  points[1].low = 35;
  points[1].high = 60;
  EXPECT_THAT(ParetoPlot(points, "x", "y", false), HasSubstr("class=\"interval\""));
}

TEST(ParetoPlotTest, LabelsAreText) {
  std::vector<PlotPoint> points = Points({{10, 30}, {8, 40}});
  points[0].label = "<b>&\"";
  const std::string svg = ParetoPlot(points, "<x>", "\"y\"", false);
  EXPECT_THAT(svg, AllOf(HasSubstr(">&lt;b&gt;&amp;&quot;</text>"), HasSubstr("&lt;x&gt;"),
                         Not(HasSubstr("<b>")), Not(HasSubstr("<x>"))));
}

TEST(ParetoPlotTest, OnePointIsNoPicture) {
  EXPECT_EQ(ParetoPlot(Points({{1, 1}}), "x", "y", false), "");
  EXPECT_EQ(ParetoPlot(Points({{1, 1}, {2, std::nan("")}}), "x", "y", false), "");
}

TEST(ParetoPlotTest, NumbersAreFiniteWhateverIsDrawn) {
  for (const bool log : {false, true}) {
    std::vector<PlotPoint> points = Points({{5, 0}, {5, 1e9}, {5, 1e-9}});
    points[2].low = -1;
    points[2].high = 2;
    const std::string svg = ParetoPlot(points, "x", "y", log);
    EXPECT_THAT(svg, AllOf(Not(HasSubstr("nan")), Not(HasSubstr("inf"))));
  }
}

}  // namespace
}  // namespace skipstone::quality
