#include "base/experiment/report/experiment_tally.h"

#include <malloc.h>

#include <algorithm>

#include "gtest/gtest.h"
#include "tests/base/experiment/report/example_log.h"

namespace skipstone::experiment {
namespace {

TEST(ExperimentTallyTest, UnitsOfAGapAreOneLook) {
  ExperimentTally tally(MixedRecord(0, 0, "control").exposures[0]);
  for (const int64_t second : {0, 1, 86'400, 86'401}) {
    const ExposureRecord record = MixedRecord(second, static_cast<uint64_t>(second), "control");
    tally.Add(record, record.exposures[0]);
  }
  const ExperimentReport report = tally.Report({});
  ASSERT_EQ(report.looks.size(), 2u) << "after the first minute that had traffic, and at the end";
  EXPECT_EQ(report.looks[0].units, 2);
  EXPECT_EQ(report.looks[1].units, 4);
  EXPECT_EQ(report.last_unix_ms - report.first_unix_ms, 86'401'000);
}

TEST(ExperimentTallyTest, AYearHasNoMoreLooksThanADay) {
  ExperimentTally tally(MixedRecord(0, 0, "control").exposures[0]);
  for (int64_t hour = 0; hour < 365 * 24; ++hour) {
    const ExposureRecord record = MixedRecord(3600 * hour, 7, "control");
    tally.Add(record, record.exposures[0]);
  }
  const size_t looks = tally.Report({}).looks.size();
  EXPECT_LE(looks, ExperimentTally::kMostLooks + 1);
  EXPECT_GE(looks, ExperimentTally::kMostLooks / 2);
}

TEST(ExperimentTallyTest, TimesMayBeAnything) {
  ExperimentTally tally(MixedRecord(0, 0, "control").exposures[0]);
  ExposureRecord record = MixedRecord(0, 0, "control");
  for (const int64_t time : {int64_t{0}, int64_t{1} << 62, int64_t{5}, int64_t{1} << 61}) {
    record.time_unix_ms = time;
    tally.Add(record, record.exposures[0]);
  }
  EXPECT_EQ(tally.Report({}).arms[0].requests, 4);
}

TEST(ExperimentTallyTest, AMillionUnitsFit) {
  ExposureRecord record = MixedRecord(0, 0, "control");
  ExperimentTally tally(record.exposures[0]);
  const size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  constexpr uint64_t kUnits = 1'000'000;
  for (uint64_t unit = 0; unit < kUnits; ++unit) {
    record.exposures[0].unit = Hash{Mix64(unit)};
    tally.Add(record, record.exposures[0]);
  }
  const size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
  // Nothing where a sanitizer counts for itself.
  EXPECT_LT(std::max(after, before) - before, 160 * kUnits);
  EXPECT_EQ(tally.Report({}).arms[0].units, static_cast<int64_t>(kUnits));
}

}  // namespace
}  // namespace skipstone::experiment
