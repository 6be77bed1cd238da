#include "base/quality/interval_plot.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::quality {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

int Count(const std::string& text, const std::string& what) {
  int found = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; ++at) ++found;
  return found;
}

TEST(IntervalPlotTest, RowsHavePointIntervalAndWords) {
  const std::string svg = IntervalPlot({{"cost", "-10 %", -10, -12, -8, EffectTone::kGood},
                                        {"failures", "+1 %", 1, 0.5, 1.5, EffectTone::kBad},
                                        {"tokens", "0 %", 0, -3, 3, EffectTone::kNeutral}},
                                       "change, %");
  EXPECT_EQ(Count(svg, "<circle"), 3);
  EXPECT_EQ(Count(svg, "class=\"interval best\""), 3) << "a line with two ends";
  EXPECT_EQ(Count(svg, "class=\"interval bad\""), 3);
  EXPECT_EQ(Count(svg, "class=\"zero\""), 3);
  EXPECT_THAT(svg, AllOf(HasSubstr(">cost</text>"), HasSubstr(">-10 %</text>"),
                         HasSubstr(">change, %</text>")));
}

TEST(IntervalPlotTest, ZeroIsInThePicture) {
  const std::string svg = IntervalPlot({{"a", "", 50, 45, 55, EffectTone::kNeutral}}, "");
  const size_t at = svg.find("class=\"zero\" x1=\"") + 17;
  const double x = std::stod(svg.substr(at));
  EXPECT_GE(x, 0);
  EXPECT_LE(x, 100) << "left of the interval";
}

TEST(IntervalPlotTest, WhatIsNotFiniteIsLeftOut) {
  EXPECT_EQ(IntervalPlot({}, "x"), "");
  EXPECT_EQ(IntervalPlot({{"a", "", std::nan(""), 0, 1, EffectTone::kGood}}, "x"), "");
  const std::string svg =
      IntervalPlot({{"a", "", 1, -INFINITY, INFINITY, EffectTone::kNeutral}}, "x");
  EXPECT_THAT(svg, AllOf(HasSubstr("<circle"), Not(HasSubstr("interval")), Not(HasSubstr("inf"))));
}

}  // namespace
}  // namespace skipstone::quality
