#include "base/experiment/report/unit_table.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/base/experiment/report/example_log.h"

namespace skipstone::experiment {
namespace {

using testing::ElementsAre;

TEST(UnitTableTest, RequestsOfAUnitAreOneValue) {
  UnitTable table;
  const WindowSums request = SumsOf(MixedRecord(1, 0, "control"));
  for (int i = 0; i < 3; ++i) table.Add(7, 0, request);
  table.Add(8, 1, request);
  EXPECT_THAT(table.CountByArm(2), ElementsAre(1, 1));
  const auto moments = table.MomentsByArm(2);
  const auto& cost = moments[0][*MetricByKey("attributed_s_per_request")];
  EXPECT_EQ(cost.n, 1);
  EXPECT_NEAR(cost.mean[0], 0.9, 1e-12);
  EXPECT_EQ(cost.mean[1], 3);
}

TEST(UnitTableTest, AUnitThatMetTwoArmsBelongsToNone) {
  UnitTable table;
  const WindowSums request = SumsOf(MixedRecord(1, 0, "control"));
  table.Add(7, 0, request);
  table.Add(7, 1, request);
  table.Add(7, 0, request);
  table.Add(8, 0, request);
  EXPECT_EQ(table.crossed(), 1);
  EXPECT_THAT(table.CountByArm(2), ElementsAre(1, 0));
  EXPECT_EQ(table.MomentsByArm(2)[0][0].n, 1);
  EXPECT_EQ(table.MomentsByArm(2)[1][0].n, 0);
}

TEST(UnitTableTest, UnitsWithoutAShadowAreNoUnitsOfQuality) {
  UnitTable table;
  ExposureRecord record = MixedRecord(1, 0, "control");
  table.Add(1, 0, SumsOf(record));
  record.shadow = Shadow(0.05, 45);
  table.Add(2, 0, SumsOf(record));
  const auto moments = table.MomentsByArm(1)[0];
  EXPECT_EQ(moments[*MetricByKey("kl_nats")].n, 1);
  EXPECT_EQ(moments[*MetricByKey("attributed_s_per_request")].n, 2);
  EXPECT_EQ(moments[*MetricByKey("itl_s")].n, 0) << "units have no latencies";
}

}  // namespace
}  // namespace skipstone::experiment
