#include "tools/sim/time_series.h"

#include "gtest/gtest.h"

namespace skipstone {
namespace {

Time At(double seconds) { return Time(Duration(static_cast<int64_t>(1e9 * seconds))); }

TEST(TimeSeriesTest, MeanIsWeightedByTime) {
  TimeSeries series;
  series.Set(At(1), 4);  // 0 for a second
  series.Set(At(2), 10);
  series.Set(At(2.5), 2);
  series.Set(At(4), 0);
  EXPECT_NEAR(series.mean(), (0 + 4 + 5 + 3) / 4.0, 1e-9);
  EXPECT_EQ(series.max(), 10);
}

TEST(TimeSeriesTest, AnEmptyOneIsZero) {
  const TimeSeries series;
  EXPECT_EQ(series.mean(), 0);
  EXPECT_TRUE(series.Points().empty());
}

TEST(TimeSeriesTest, PointsAreBoundedAndKeepTheIntegral) {
  TimeSeries series;
  double integral = 0;
  for (int i = 0; i < 20000; ++i) {
    series.Set(At(0.37 * i), i % 7);
    integral += i + 1 < 20000 ? 0.37 * (i % 7) : 0;
  }
  const auto points = series.Points();
  EXPECT_LE(points.size(), 512u);
  EXPECT_GE(points.size(), 256u);
  EXPECT_NEAR(series.mean() * 0.37 * 19999, integral, 1e-6 * integral);
  for (const auto& [seconds, value] : points) EXPECT_NEAR(value, 3, 0.3) << seconds;
}

TEST(TimeSeriesTest, ALongGapCoarsensThePoints) {
  TimeSeries series;
  series.Set(At(0), 1);
  series.Set(At(100000), 3);
  EXPECT_NEAR(series.mean(), 1, 1e-9);
  for (const auto& [seconds, value] : series.Points()) EXPECT_NEAR(value, 1, 1e-9);
}

}  // namespace
}  // namespace skipstone
