#include "base/quality/plot_axis.h"

#include <cmath>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::quality {
namespace {

using testing::ElementsAre;

TEST(PlotAxisTest, ValuesLieWithinTheAxisInTheirOrder) {
  const PlotAxis axis({2, 4}, /*log=*/false, /*begin=*/100, /*end=*/0);
  EXPECT_LT(axis.At(2), 100);
  EXPECT_GT(axis.At(4), 0);
  EXPECT_DOUBLE_EQ(axis.At(3), 50);
}

TEST(PlotAxisTest, TicksAreRound) {
  EXPECT_THAT(PlotAxis({0, 1}, false, 0, 1).Ticks(),
              ElementsAre(0, 0.2, 0.4, 0.6000000000000001, 0.8, 1));
  EXPECT_THAT(PlotAxis({30, 546}, true, 0, 1).Ticks(), ElementsAre(50, 100, 200, 500));
}

TEST(PlotAxisTest, LogarithmicOnlyWhereItHelps) {
  EXPECT_TRUE(PlotAxis({30, 546}, true, 0, 1).log());
  EXPECT_FALSE(PlotAxis({30, 33}, true, 0, 1).log());
  EXPECT_FALSE(PlotAxis({0, 546}, true, 0, 1).log());
  EXPECT_FALSE(PlotAxis({30, 546}, false, 0, 1).log());
}

TEST(PlotAxisTest, AnyRangeHasAFewTicksThatDiffer) {
  for (const bool log : {false, true}) {
    for (double low = 1e-6; low < 1e7; low *= 3.7) {
      for (double ratio = 1; ratio < 1e20; ratio *= 2.9) {
        const PlotAxis axis({low, low * ratio}, log, 0, 100);
        std::set<std::string> texts;
        double last = -1;
        for (const double tick : axis.Ticks()) {
          EXPECT_GE(axis.At(tick), last);
          EXPECT_LE(axis.At(tick), 100.001);
          last = axis.At(tick);
          texts.insert(PlotAxis::TickText(tick));
        }
        EXPECT_GE(texts.size(), 2) << low << " " << ratio;
        EXPECT_EQ(texts.size(), axis.Ticks().size()) << low << " " << ratio;
        EXPECT_LE(texts.size(), 11) << low << " " << ratio;
      }
    }
  }
}

TEST(PlotAxisTest, EqualValuesLieInTheMiddle) {
  for (const double value : {0.0, 7.0, -3.0}) {
    EXPECT_DOUBLE_EQ(PlotAxis({value, value}, true, 0, 10).At(value), 5);
  }
}

TEST(PlotAxisTest, TicksReadWell) {
  EXPECT_EQ(PlotAxis::TickText(0.6000000000000001), "0.6");
  EXPECT_EQ(PlotAxis::TickText(30000), "30000");
  EXPECT_EQ(PlotAxis::TickText(1e20), "1e+20");
  EXPECT_EQ(PlotAxis::TickText(1e-17), "0");
}

}  // namespace
}  // namespace skipstone::quality
