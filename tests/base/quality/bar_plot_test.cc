#include "base/quality/bar_plot.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::quality {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(BarPlotTest, BarsAreAsLongAsTheirValues) {
  const std::string svg = BarPlot({{"control", "100", 100, 75.0}, {"<b>", "50", 50, {}}}, "units");
  EXPECT_THAT(svg, AllOf(HasSubstr("width=\"360.0\""), HasSubstr("width=\"180.0\""),
                         HasSubstr("class=\"expected\" x1=\"290.0\""), HasSubstr("&lt;b&gt;"),
                         HasSubstr(">units</text>"), Not(HasSubstr("<b>"))));
}

TEST(BarPlotTest, NothingIsNoPicture) {
  EXPECT_EQ(BarPlot({}, "x"), "");
  EXPECT_EQ(BarPlot({{"a", "0", 0, {}}}, "x"), "");
}

}  // namespace
}  // namespace skipstone::quality
