#include "base/experiment/report/report_metric.h"

#include <limits>
#include <set>
#include <string>

#include "gtest/gtest.h"

namespace skipstone::experiment {
namespace {

const ReportMetric& Metric(const std::string& key) { return ReportMetrics()[*MetricByKey(key)]; }

TEST(ReportMetricTest, EachHasAKeyOfItsOwn) {
  std::set<std::string> keys;
  for (const ReportMetric& metric : ReportMetrics()) {
    EXPECT_TRUE(keys.insert(metric.key).second) << metric.key;
    EXPECT_EQ(metric.is_relative, std::string(metric.effect_unit) == "%") << metric.key;
  }
  EXPECT_EQ(keys.size(), kReportMetrics);
  EXPECT_FALSE(MetricByKey("no such metric"));
  EXPECT_FALSE(MetricByKey(""));
}

TEST(ReportMetricTest, LatenciesAloneNeedWindows) {
  for (const ReportMetric& metric : ReportMetrics()) {
    const bool is_latency = metric.kind == ReportMetric::Kind::kLatency;
    EXPECT_EQ(is_latency, metric.numerator >= kUnitSums) << metric.key;
    // A unit has no other sums: an index behind them would read another unit's.
    EXPECT_TRUE(is_latency || metric.denominator < kUnitSums) << metric.key;
  }
}

TEST(ReportMetricTest, ValuesAndEffectsAreShownInTheirUnits) {
  EXPECT_EQ(Metric("attributed_s_per_token").ValueText(0.00025), "250.0");
  EXPECT_EQ(Metric("attributed_s_per_token").EffectText(-0.098), "-9.8 %");
  EXPECT_EQ(Metric("attributed_s_per_token").IntervalText({-0.126, -0.071}), "[-12.6, -7.1]");
  EXPECT_EQ(Metric("failure_ratio").EffectText(0.012), "+1.20 points");
  EXPECT_EQ(Metric("kl_nats").EffectText(0.058), "+0.0580 nats/token");
  EXPECT_EQ(Metric("brier").EffectText(0.01), "+0.0100");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(Metric("kl_nats").EffectText(nan), "-");
  EXPECT_EQ(Metric("kl_nats").ValueText(nan), "-");
}

TEST(ReportMetricTest, KindsHaveNames) {
  EXPECT_STREQ(NameOf(ReportMetric::Kind::kOutcome), "Outcome");
  EXPECT_STREQ(NameOf(ReportMetric::Kind::kLatency), "Latency");
}

}  // namespace
}  // namespace skipstone::experiment
