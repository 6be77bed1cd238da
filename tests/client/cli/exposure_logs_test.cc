#include "client/cli/exposure_logs.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/base/experiment/report/example_log.h"
#include "tests/support/temp_dir.h"

namespace skipstone::client {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string Lines(const std::vector<experiment::ExposureRecord>& log) {
  std::string lines;
  for (const auto& record : log) lines += experiment::FormatExposure(record);
  return lines;
}

TEST(ExposureLogsTest, AtLeastOneIsWanted) {
  EXPECT_THAT(std::string(CheckLogs({}).message()), HasSubstr("LOG..."));
  EXPECT_TRUE(CheckLogs({"a"}).ok());
}

TEST(ExposureLogsTest, LogsOfReplicasAreOneReport) {
  const TempDir dir;
  const std::string a = dir.Write("a.jsonl", Lines(experiment::PlantedLog(40, 1)));
  const std::string b = dir.Write("b.jsonl", Lines(experiment::PlantedLog(40, 2)) + "torn");
  const auto report = ReadReport({a, b}, {});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->counts.records, 80);
  EXPECT_EQ(report->counts.refused, 1);
  ASSERT_EQ(report->experiments.size(), 1u);
  EXPECT_EQ(report->experiments[0].arms[0].requests + report->experiments[0].arms[1].requests, 80);
}

TEST(ExposureLogsTest, AnEmptyLogIsAnEmptyReport) {
  const TempDir dir;
  const auto report = ReadReport({dir.Write("a.jsonl", "")}, {});
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->experiments.empty());
}

TEST(ExposureLogsTest, ErrorsNameFileAndLine) {
  const TempDir dir;
  const auto missing = ReadReport({dir.path() + "/none"}, {}).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()),
              AllOf(HasSubstr("LOG: \"" + dir.path() + "/none\""), HasSubstr("No such file")));
  EXPECT_THAT(std::string(ReadReport({dir.path()}, {}).status().message()),
              HasSubstr("Is a directory"));
  const auto foreign = ReadReport({dir.Write("README.md", "# Title\n")}, {}).status();
  EXPECT_EQ(foreign.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(foreign.message()), HasSubstr("README.md:1: "));
}

}  // namespace
}  // namespace skipstone::client
