#include "tools/sim/plot.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(PlotTest, TicksAreRoundAndCoverTheRange) {
  EXPECT_THAT(RoundTicks(0, 100, 5), ElementsAre(0, 20, 40, 60, 80, 100));
  EXPECT_THAT(RoundTicks(0, 7.6, 5), ElementsAre(0, 2, 4, 6, 8));
  EXPECT_THAT(RoundTicks(3, 3, 5).size(), testing::Ge(2u));
  for (const double high : {0.013, 1.0, 3.2, 4.9, 1999.0, 123456.0}) {
    const std::vector<double> ticks = RoundTicks(0, high, 5);
    EXPECT_EQ(ticks.front(), 0);
    EXPECT_GE(ticks.back(), high * (1 - 1e-9));
    EXPECT_LE(ticks.size(), 8u);
    EXPECT_GE(ticks.size(), 3u);
  }
}

TEST(PlotTest, LogTicksAreOneTwoFiveOrPowersOfTen) {
  EXPECT_THAT(LogTicks(3, 320, 5), ElementsAre(2, 5, 10, 20, 50, 100, 200, 500));
  EXPECT_THAT(LogTicks(0.5, 2e6, 5),
              ElementsAre(testing::DoubleNear(0.1, 1e-9), 1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7));
  EXPECT_THAT(LogTicks(1, 1, 5).size(), testing::Ge(2u));
}

TEST(PlotTest, PutsPointsWhereTheAxesSay) {
  Plot plot{.title = "a < b & c", .x_label = "x", .y_label = "y"};
  plot.lines = {{.name = "l>1", .points = {{0, 0}, {10, 100}}}, {.points = {{5, 50}}}};
  const std::string svg = PlotsToSvg({plot});
  // The plot area spans x 64..460 and y 274..34.
  EXPECT_THAT(svg, HasSubstr("points=\"64.0,274.0 460.0,34.0 \""));
  EXPECT_THAT(svg, HasSubstr("points=\"262.0,154.0 \""));
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; c"));
  EXPECT_THAT(svg, HasSubstr("l&gt;1"));
}

TEST(PlotTest, DecadesOfALogAxisAreEquallyWide) {
  Plot plot{.log_x = true};
  plot.lines = {{.points = {{1, 0}, {10, 1}, {100, 1}}}};
  EXPECT_THAT(PlotsToSvg({plot}), HasSubstr("points=\"64.0,274.0 262.0,34.0 460.0,34.0 \""));
}

TEST(PlotTest, AnEmptyPlotHasAxesAndNoNumbersThatAreNone) {
  const std::string svg = PlotsToSvg({Plot{.log_x = true}, Plot{}, Plot{.lines = {PlotLine{}}}});
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  EXPECT_THAT(svg, HasSubstr("height=\"640\""));  // two rows
}

}  // namespace
}  // namespace skipstone
