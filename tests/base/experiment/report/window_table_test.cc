#include "base/experiment/report/window_table.h"

#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/base/experiment/report/example_log.h"

namespace skipstone::experiment {
namespace {

using testing::ElementsAre;

constexpr double kHalves[] = {0.5, 0.5};

void Add(WindowTable& table, int64_t window, size_t arm, int requests = 1) {
  const ExposureRecord record = WindowRecord(0, window, "x");
  for (int i = 0; i < requests; ++i) {
    table.Add(*record.exposures[0].window, arm, SumsOf(record));
  }
}

std::vector<int> ArmsOf(const std::map<int64_t, WindowTable::Row>& rows) {
  std::vector<int> arms;
  for (const auto& [index, row] : rows) arms.push_back(row.arm);
  return arms;
}

TEST(WindowTableTest, WindowsWithoutTrafficAreFilledInWithTheArmsThatTheBlockLacks) {
  WindowTable table;  // blocks of four: 0-3, 4-7, 8-11
  Add(table, 0, 0);
  Add(table, 5, 1);
  Add(table, 6, 1);
  Add(table, 8, 1, 2);
  Add(table, 11, 0);
  const auto rows = table.Filled(kHalves);
  ASSERT_EQ(rows.size(), 12u);
  EXPECT_EQ(rows.at(4).arm, 0);
  EXPECT_EQ(rows.at(7).arm, 0);
  int treated = 0;
  for (const auto& [index, row] : rows) {
    treated += row.arm == 1;
    EXPECT_EQ(row.block, index / 4);
  }
  EXPECT_EQ(treated, 6);
  EXPECT_EQ(rows.at(8).sums[kRequests], 2);
  EXPECT_EQ(rows.at(9).sums[kRequests], 0);
}

TEST(WindowTableTest, InBlocksThatTheLogCutsGapsHaveNoArm) {
  WindowTable table;
  Add(table, 1, 0);
  Add(table, 3, 1);
  Add(table, 6, 0);
  EXPECT_THAT(ArmsOf(table.Filled(kHalves)), ElementsAre(0, -1, 1, -1, -1, 0));
}

TEST(WindowTableTest, WithoutAllSharesGapsHaveNoArm) {
  WindowTable table;
  Add(table, 0, 0);
  Add(table, 3, 0);
  const std::vector<double> one = {0.5};
  EXPECT_THAT(ArmsOf(table.Filled(one)), ElementsAre(0, -1, -1, 0));
  EXPECT_TRUE(WindowTable().Filled(kHalves).empty());
}

TEST(WindowTableTest, WashoutAndRequestsThatRunOnDoNotCount) {
  WindowTable table;
  ExposureWindow window = {.index = 4, .ended_index = 4, .block = 1, .seconds = 60};
  const WindowSums request = SumsOf(WindowRecord(0, 4, "x"));
  table.Add(window, 0, request);
  window.counted = false;
  table.Add(window, 0, request);
  window.counted = true;
  window.ended_index = 5;
  table.Add(window, 0, request);
  window.ended_index = 4;
  table.Add(window, 1, request);  // another clock
  EXPECT_EQ(table.in_washout(), 1);
  EXPECT_EQ(table.ran_on(), 1);
  EXPECT_EQ(table.contradictory(), 1);
  EXPECT_EQ(table.Filled(kHalves).at(4).sums[kRequests], 1);
}

TEST(WindowTableTest, AWindowFarAwayDoesNotFillTheMemory) {
  WindowTable table;
  Add(table, 5, 0);
  Add(table, int64_t{1} << 60, 1);
  Add(table, 5 + WindowTable::kMostWindows, 1);
  EXPECT_EQ(table.contradictory(), 2);
  EXPECT_EQ(table.Filled(kHalves).size(), 1u);
}

TEST(WindowTableTest, RatiosAreSumsOrLogarithms) {
  WindowTable table;
  Add(table, 0, 0, 3);
  Add(table, 2, 1);
  const auto rows = table.Filled(kHalves);
  const ReportMetric& itl = ReportMetrics()[*MetricByKey("itl_s")];
  const auto sums = WindowsOf(rows, itl, false);
  ASSERT_EQ(sums.size(), 3u);
  EXPECT_NEAR(sums[0].numerator, 0.06, 1e-12);
  EXPECT_EQ(sums[0].denominator, 3);
  EXPECT_EQ(sums[1].denominator, 0);
  const auto logarithms = WindowsOf(rows, itl, true);
  EXPECT_NEAR(logarithms[0].numerator, std::log(0.02), 1e-12);
  EXPECT_EQ(logarithms[0].denominator, 1);
  EXPECT_EQ(logarithms[1].denominator, 0);
  // No failure has no logarithm.
  EXPECT_EQ(WindowsOf(rows, ReportMetrics()[0], true)[0].denominator, 0);
}

}  // namespace
}  // namespace skipstone::experiment
