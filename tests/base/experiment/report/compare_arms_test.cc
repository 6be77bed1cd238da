#include "base/experiment/report/compare_arms.h"

#include <cmath>

#include "base/statistics/confidence_sequence.h"
#include "gtest/gtest.h"
#include "tests/base/experiment/report/example_log.h"

namespace skipstone::experiment {
namespace {

using statistics::Moments;

Moments<2> Units(int n, double ratio, double noise, uint64_t seed) {
  Moments<2> moments;
  for (int i = 0; i < n; ++i) {
    const double denominator = 1 + Uniform(seed + i);
    moments.Add({denominator * ratio * (1 + noise * Normal(seed + i)), denominator});
  }
  return moments;
}

TEST(CompareArmsTest, IntervalsAreThoseOfTheConfidenceSequence) {
  MetricMoments control, treatment;
  const size_t metric = *MetricByKey("attributed_s_per_token");
  control[metric] = Units(4000, 2, 0.3, 1);
  treatment[metric] = Units(4000, 1.8, 0.3, 100'000);
  const auto effect = CompareUnits(metric, control, treatment, {});
  ASSERT_TRUE(effect && effect->interval && effect->p_value);
  EXPECT_NEAR(effect->value, -0.1, 0.02);
  EXPECT_TRUE(effect->interval->Contains(-0.1));
  EXPECT_TRUE(effect->IsClear());
  EXPECT_LT(*effect->p_value, 1e-6);
  const auto expected = statistics::SequentialInterval(
      *statistics::RelativeEffect(statistics::RatioEstimate(control[metric]),
                                  statistics::RatioEstimate(treatment[metric])),
      {});
  EXPECT_EQ(effect->interval->low, expected->low);
  EXPECT_EQ(effect->interval->high, expected->high);
}

TEST(CompareArmsTest, AnArmThatNeverVariesIsAKnownNumber) {
  MetricMoments control, treatment;
  const size_t kl = *MetricByKey("kl_nats");
  control[kl] = Units(100, 0, 0, 1);
  treatment[kl] = Units(100, 0.05, 0.3, 1);
  const auto effect = CompareUnits(kl, control, treatment, {});
  ASSERT_TRUE(effect && effect->interval);
  EXPECT_NEAR(effect->value, 0.05, 0.01);
  EXPECT_TRUE(effect->IsClear());
  // The other way round the effect turns its sign.
  const auto turned = CompareUnits(kl, treatment, control, {});
  EXPECT_DOUBLE_EQ(turned->value, -effect->value);
  EXPECT_DOUBLE_EQ(turned->interval->high, -effect->interval->low);
  // Two known numbers differ by a number without an interval.
  const auto none = CompareUnits(kl, control, control, {});
  ASSERT_TRUE(none);
  EXPECT_EQ(none->value, 0);
  EXPECT_FALSE(none->interval || none->p_value || none->IsClear());
}

TEST(CompareArmsTest, NoFailureSoFarIsNotNoFailureEver) {
  MetricMoments control, treatment;
  const size_t failures = *MetricByKey("failure_ratio");
  for (int i = 0; i < 200; ++i) control[failures].Add({0, 4});
  for (int i = 0; i < 200; ++i) treatment[failures].Add({i == 0 ? 1.0 : 0.0, 4});
  const auto one = CompareUnits(failures, control, treatment, {});
  ASSERT_TRUE(one && one->interval);
  EXPECT_FALSE(one->IsClear()) << "one failure of 800 requests";
  for (int i = 0; i < 200; ++i) treatment[failures].Add({i % 4 == 0 ? 1.0 : 0.0, 4});
  EXPECT_TRUE(CompareUnits(failures, control, treatment, {})->IsClear());
  const auto none = CompareUnits(failures, control, control, {});
  ASSERT_TRUE(none->interval);
  EXPECT_TRUE(none->interval->Contains(0.001));
}

TEST(CompareArmsTest, TooLittleHasNoIntervalAndNothingNoValue) {
  MetricMoments control, treatment;
  const size_t metric = *MetricByKey("attributed_s_per_token");
  EXPECT_FALSE(CompareUnits(metric, control, treatment, {}));
  control[metric] = Units(1, 2, 0, 1);
  EXPECT_FALSE(CompareUnits(metric, control, treatment, {}));
  treatment[metric] = Units(1, 1, 0, 1);
  const auto effect = CompareUnits(metric, control, treatment, {});
  ASSERT_TRUE(effect);
  EXPECT_DOUBLE_EQ(effect->value, -0.5);
  EXPECT_FALSE(effect->interval);
  control[metric] = Units(10, 0, 0, 1);
  EXPECT_FALSE(CompareUnits(metric, control, treatment, {})) << "relative to 0";
  control[metric] = Units(kLeastUnits, 2, 0.01, 1);
  treatment[metric] = Units(kLeastUnits - 1, 1, 0.01, 1);
  EXPECT_FALSE(CompareUnits(metric, control, treatment, {})->interval);
  treatment[metric] = Units(kLeastUnits, 1, 0.01, 1);
  EXPECT_TRUE(CompareUnits(metric, control, treatment, {})->interval);
}

std::map<int64_t, WindowTable::Row> Windows(double factor) {
  std::map<int64_t, WindowTable::Row> rows;
  for (int64_t i = 0; i < 80; ++i) {
    WindowTable::Row& row = rows[i];
    row.block = i / 4;
    row.arm = static_cast<int>(Mix64(i / 4) % 2 == 0 ? i % 4 / 2 : 1 - i % 4 / 2);
    row.sums[kItlRequests] = row.sums[kRequests] = 10;
    row.sums[kFailures] = row.arm;
    row.sums[kItlS] = 0.2 * (row.arm == 1 ? factor : 1) * std::exp(0.1 * Normal(i));
  }
  return rows;
}

TEST(CompareArmsTest, WindowsOfASwitchbackAreComparedByRandomisation) {
  const auto rows = Windows(1.5);
  const auto effect = CompareWindows(*MetricByKey("itl_s"), rows, 0, 1, {});
  ASSERT_TRUE(effect && effect->interval && effect->p_value);
  EXPECT_TRUE(effect->interval->Contains(0.5));
  EXPECT_NEAR(effect->value, 0.5, 0.1);
  EXPECT_LE(*effect->p_value, 0.001);
  // One failure of ten requests in each treated window.
  EXPECT_NEAR(CompareWindows(*MetricByKey("failure_ratio"), rows, 0, 1, {})->value, 0.1, 1e-12);
  EXPECT_FALSE(CompareWindows(*MetricByKey("itl_s"), rows, 0, 2, {})) << "an arm without windows";
  EXPECT_FALSE(CompareWindows(*MetricByKey("ttft_s"), rows, 0, 1, {})) << "never measured";
}

TEST(CompareArmsTest, CarryOverLeavesWindowsOut) {
  const auto rows = Windows(1.5);
  const auto all = CompareWindows(*MetricByKey("itl_s"), rows, 0, 1, {});
  const auto fewer = CompareWindows(*MetricByKey("itl_s"), rows, 0, 1, {.carry_over = 1});
  ASSERT_TRUE(fewer && fewer->interval);
  EXPECT_GT(fewer->interval->high - fewer->interval->low, all->interval->high - all->interval->low);
}

}  // namespace
}  // namespace skipstone::experiment
