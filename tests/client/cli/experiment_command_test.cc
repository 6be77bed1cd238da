#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/base/experiment/report/example_log.h"
#include "tests/client/cli/run_skipstone.h"
#include "tests/support/temp_dir.h"

namespace skipstone::client {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::string WriteLog(const TempDir& dir) {
  std::string lines;
  for (const auto& record : experiment::PlantedLog(800)) {
    lines += experiment::FormatExposure(record);
  }
  return dir.Write("log.jsonl", lines);
}

TEST(ExperimentReportCommandTest, PrintsTheReportAndWritesItsFiles) {
  const TempDir dir;
  const std::string out = dir.path() + "/new/report";
  const CliResult result = RunSkipstone({"experiment", "report", WriteLog(dir), "--out", out});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("treatment "), HasSubstr("Which requests suffer")));
  EXPECT_EQ(result.err, "wrote " + out + "/report.html and report.txt, report.json\n");
  for (const char* name : {"report.txt", "report.json", "report.html"}) {
    EXPECT_GT(std::filesystem::file_size(out + "/" + name), 1000u) << name;
  }
}

TEST(ExperimentReportCommandTest, JsonIsForMachines) {
  const TempDir dir;
  const CliResult result =
      RunSkipstone({"experiment", "report", "--json", "--control=treatment", WriteLog(dir)});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto report = nlohmann::json::parse(result.out);
  EXPECT_EQ(report["experiments"][0]["arms"][0]["name"], "treatment");
}

TEST(ExperimentReportCommandTest, ErrorsNameFlagAndFile) {
  EXPECT_THAT(RunSkipstone({"experiment", "report"}).err,
              StartsWith("skipstone experiment report: expected one or more exposure logs"));
  EXPECT_EQ(RunSkipstone({"experiment", "report"}).exit_code, 2);
  const CliResult missing = RunSkipstone({"experiment", "report", "/no/such/log"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.err, HasSubstr("NOT_FOUND: LOG: \"/no/such/log\""));
  for (const char* flag : {"--alpha=2", "--carry_over=-1", "--tuning=0", "--interval=1s"}) {
    EXPECT_EQ(RunSkipstone({"experiment", "report", flag, "log"}).exit_code, 2) << flag;
  }
  const TempDir dir;
  const std::string log = WriteLog(dir);
  const CliResult taken = RunSkipstone({"experiment", "report", log, "--out", log + "/x"});
  EXPECT_EQ(taken.exit_code, 1);
  EXPECT_THAT(taken.err, HasSubstr("--out: "));
}

TEST(ExperimentWatchCommandTest, PrintsAVerdictForEachLook) {
  const TempDir dir;
  const CliResult result =
      RunSkipstone({"experiment", "watch", WriteLog(dir), "--interval=100ms", "--looks=2"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const size_t second = result.out.find('\n') + 1;
  EXPECT_THAT(result.out.substr(0, second), HasSubstr("  attn-skip-1: treatment "));
  EXPECT_THAT(result.out.substr(second), HasSubstr("  attn-skip-1: treatment "));
}

TEST(ExperimentWatchCommandTest, JsonIsOneLineALook) {
  const TempDir dir;
  const CliResult result = RunSkipstone(
      {"experiment", "watch", "--json", WriteLog(dir), "--interval=100ms", "--looks=2"});
  EXPECT_EQ(std::ranges::count(result.out, '\n'), 2);
  EXPECT_EQ(nlohmann::json::parse(result.out.substr(0, result.out.find('\n')))["records"], 800);
}

TEST(ExperimentWatchCommandTest, SeesWhatWasAppended) {
  const TempDir dir;
  const std::string log = dir.Write("log.jsonl", "");
  int flushes = 0;
  WatchedOutput buffer([&](const std::string&) {
    if (++flushes != 1) return;
    std::ofstream more(log, std::ios::app);
    for (const auto& record : experiment::PlantedLog(400)) {
      more << experiment::FormatExposure(record);
    }
  });
  std::istringstream in;
  std::ostream out(&buffer);
  std::ostringstream err;
  Io io{in, out, err};
  const std::vector<std::string> line = {"experiment", "watch", log, "--interval=100ms",
                                         "--looks=2"};
  EXPECT_EQ(RunCli(line, io), 0);
  EXPECT_THAT(buffer.str(), HasSubstr("attn-skip-1: "));
}

TEST(ExperimentWatchCommandTest, EndsWithWhoeverReadIt) {
  const TempDir dir;
  const std::string log = WriteLog(dir);
  std::istringstream in;
  std::ostream out(nullptr);  // fails at once
  std::ostringstream err;
  Io io{in, out, err};
  EXPECT_EQ(RunCli(std::vector<std::string>{"experiment", "watch", log}, io), 0);
}

TEST(ExperimentWatchCommandTest, ErrorsAreToldAtTheFirstLook) {
  EXPECT_EQ(RunSkipstone({"experiment", "watch", "/no/such/log"}).exit_code, 1);
  const CliResult often = RunSkipstone({"experiment", "watch", "log", "--interval=1ms"});
  EXPECT_EQ(often.exit_code, 2);
  EXPECT_THAT(often.err, HasSubstr("--interval must be at least 100ms, not 1ms"));
}

}  // namespace
}  // namespace skipstone::client
