#include "client/cli/statistics.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

// By the definition: walk the polyline through (100 * i / (n - 1), value i).
double PercentileByDefinition(std::vector<float> values, double p) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  if (n == 1) return values[0];
  for (size_t i = 0; i + 1 < n; ++i) {
    const double left = 100.0 * i / (n - 1);
    const double right = 100.0 * (i + 1) / (n - 1);
    if (p > right && i + 2 < n) continue;
    return values[i] + (p - left) / (right - left) * (values[i + 1] - values[i]);
  }
  return NAN;
}

TEST(StatisticsTest, PercentilesFollowTheDefinition) {
  std::mt19937 random(1);
  std::lognormal_distribution<float> draw(2, 1);
  for (size_t n : {1, 2, 3, 7, 100, 101}) {
    std::vector<float> values(n);
    for (float& value : values) value = draw(random);
    const Summary summary = Summarize(values);
    EXPECT_EQ(summary.count, n);
    EXPECT_NEAR(summary.p50, PercentileByDefinition(values, 50), 1e-4);
    EXPECT_NEAR(summary.p90, PercentileByDefinition(values, 90), 1e-4);
    EXPECT_NEAR(summary.p99, PercentileByDefinition(values, 99), 1e-4);
    EXPECT_EQ(summary.max, *std::max_element(values.begin(), values.end()));
    std::sort(values.begin(), values.end());
    for (double p = 0; p <= 100; p += 0.5) {
      EXPECT_NEAR(Percentile(values, p), PercentileByDefinition(values, p), 1e-4) << n << " " << p;
    }
  }
}

TEST(StatisticsTest, KnownSample) {
  const Summary summary = Summarize({40, 10, 30, 20});
  EXPECT_DOUBLE_EQ(summary.mean, 25);
  EXPECT_DOUBLE_EQ(summary.p50, 25);
  EXPECT_DOUBLE_EQ(summary.p90, 37);
  EXPECT_NEAR(summary.p99, 39.7, 1e-9);
  EXPECT_DOUBLE_EQ(summary.max, 40);
}

TEST(StatisticsTest, EmptySampleHasNoValues) {
  const Summary summary = Summarize({});
  EXPECT_EQ(summary.count, 0);
  for (const double value :
       {summary.mean, summary.p50, summary.p90, summary.p99, summary.max, Percentile({}, 50)}) {
    EXPECT_TRUE(std::isnan(value));
  }
}

}  // namespace
}  // namespace skipstone::client
