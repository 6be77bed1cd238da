#include "base/workload/histogram.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

TEST(HistogramTest, AnEmptyOneHasNoValues) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0);
  EXPECT_TRUE(std::isnan(histogram.mean()));
  EXPECT_TRUE(std::isnan(histogram.max()));
  EXPECT_TRUE(std::isnan(histogram.Percentile(50)));
  EXPECT_TRUE(histogram.Cumulative().empty());
}

TEST(HistogramTest, PercentilesAreWithinABucket) {
  std::mt19937_64 random(1);
  std::vector<double> values;
  Histogram histogram;
  for (int i = 0; i < 10001; ++i) {
    values.push_back(std::lognormal_distribution(-3.0, 2.0)(random));
    histogram.Add(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double p : {1.0, 50.0, 90.0, 99.0, 99.9}) {
    const double exact = values[static_cast<size_t>(std::ceil(p / 100 * 10001)) - 1];
    EXPECT_GE(histogram.Percentile(p), exact) << p;
    EXPECT_LE(histogram.Percentile(p), exact * (1 + 1.0 / 128)) << p;
  }
  EXPECT_EQ(histogram.max(), values.back());
  EXPECT_EQ(histogram.Percentile(100), values.back());
}

TEST(HistogramTest, MeanAndMaximumAreExact) {
  Histogram histogram;
  for (const double value : {0.125, 0.25, 0.5, 1e-12}) histogram.Add(value);
  EXPECT_DOUBLE_EQ(histogram.mean(), (0.875 + 1e-12) / 4);
  EXPECT_EQ(histogram.max(), 0.5);
}

TEST(HistogramTest, MergingEqualsAddingAll) {
  Histogram a, b, all;
  for (int i = 1; i < 100; ++i) {
    (i % 3 == 0 ? a : b).Add(0.001 * i);
    all.Add(0.001 * i);
  }
  a.Merge(b);
  EXPECT_EQ(a.count(), all.count());
  EXPECT_NEAR(a.mean(), all.mean(), 1e-12);
  EXPECT_EQ(a.max(), all.max());
  EXPECT_EQ(a.Cumulative(), all.Cumulative());
}

TEST(HistogramTest, CumulativeEndsAtTheMaximum) {
  Histogram histogram;
  for (const double value : {0.1, 0.2, 0.2, 0.4}) histogram.Add(value);
  const auto points = histogram.Cumulative();
  ASSERT_EQ(points.size(), 3u);
  EXPECT_DOUBLE_EQ(points[0].second, 0.25);
  EXPECT_DOUBLE_EQ(points[1].second, 0.75);
  EXPECT_EQ(points[2], (std::pair<double, double>{0.4, 1.0}));
}

}  // namespace
}  // namespace skipstone
