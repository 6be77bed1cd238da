#include "base/experiment/report/experiment_plan.h"

#include <nlohmann/json.hpp>

#include "base/experiment/report/report_builder.h"
#include "base/statistics/power.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/base/experiment/report/example_log.h"

namespace skipstone::experiment {
namespace {

using testing::HasSubstr;

TEST(ExperimentPlanTest, UnitsAreThoseOfTheSequentialTest) {
  const PlanSettings settings = {.effect = 0.1, .units_per_day = 500, .days = 7};
  const auto plan = MakePlan({{"cost", 240, 9000}}, settings);
  ASSERT_EQ(plan.size(), 1u);
  const statistics::PlanOptions options = {.is_relative = true, .is_sequential = true};
  const statistics::Baseline baseline = {.value = 240, .unit_variance = 9000};
  EXPECT_EQ(plan[0].units, *statistics::PlannedUnits(baseline, 0.1, options));
  EXPECT_EQ(plan[0].days, *plan[0].units / 500);
  EXPECT_EQ(plan[0].smallest, *statistics::MinimumDetectableEffect(baseline, 3500, options));
}

TEST(ExperimentPlanTest, ASwitchbackLooksOnceAndNeedsFewerWindows) {
  PlanSettings settings = {.effect = 0.1, .units_per_day = 1440};
  const auto units = MakePlan({{"ITL", 30, 100}}, settings);
  settings.design = Design::kSwitchback;
  const auto windows = MakePlan({{"ITL", 30, 100}}, settings);
  EXPECT_LT(*windows[0].units, *units[0].units);
  EXPECT_THAT(PlanToTable(windows, settings),
              testing::AllOf(HasSubstr("1440 new windows a day"), HasSubstr("looking once")));
}

TEST(ExperimentPlanTest, WhatCannotBePlannedIsUnset) {
  const PlanSettings settings = {.units_per_day = 1};
  const auto plan = MakePlan({{"none", 0, 1}, {"constant", 1, 0}}, settings);
  for (const PlanRow& row : plan) EXPECT_FALSE(row.units || row.days || row.smallest);
  EXPECT_THAT(PlanToTable(plan, settings), HasSubstr("constant"));
  const auto json = nlohmann::json::parse(PlanToJson(plan, settings));
  EXPECT_TRUE(json["metrics"][1]["units"].is_null());
  EXPECT_EQ(json["design"], "mixed");
}

TEST(ExperimentPlanTest, BaselinesComeFromALog) {
  ReportBuilder builder({});
  for (const ExposureRecord& record : PlantedLog(4000)) builder.Add(record);
  PlanSettings settings;
  const auto baselines = BaselinesOf(builder.Finish({}).experiments[0], settings);
  EXPECT_EQ(settings.design, Design::kMixed);
  // A request a second, four a unit.
  EXPECT_NEAR(settings.units_per_day, 86'400 / 4.0, 100);
  ASSERT_FALSE(baselines.empty());
  bool found = false;
  for (const PlanBaseline& baseline : baselines) {
    EXPECT_NE(baseline.value, 0);
    EXPECT_GT(baseline.variance, 0);
    if (baseline.title != ReportMetrics()[*MetricByKey("attributed_s_per_request")].title) continue;
    found = true;
    EXPECT_NEAR(baseline.value, 300, 30);
  }
  EXPECT_TRUE(found);
}

TEST(ExperimentPlanTest, OfASwitchbackTheUnitsAreWindows) {
  ReportBuilder builder({});
  for (int64_t i = 0; i < 400; ++i) {
    ExposureRecord record = WindowRecord(i, i / 5, (i / 5) % 2 == 0 ? "control" : "treatment");
    record.itl_mean_s = 0.02 * (1 + 0.2 * Normal(i / 5));
    builder.Add(record);
  }
  PlanSettings settings;
  const auto baselines = BaselinesOf(builder.Finish({}).experiments[0], settings);
  EXPECT_EQ(settings.design, Design::kSwitchback);
  ASSERT_EQ(baselines.size(), 1u) << "nothing else differs";
  EXPECT_EQ(baselines[0].title, "ITL ms");
  EXPECT_NEAR(std::sqrt(baselines[0].variance), 4, 1);
}

}  // namespace
}  // namespace skipstone::experiment
