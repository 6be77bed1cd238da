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

CliResult Plan(std::vector<std::string> flags) {
  flags.insert(flags.begin(), {"experiment", "plan"});
  return RunSkipstone(flags);
}

TEST(ExperimentPlanCommandTest, PlansFromABaselineByFlags) {
  const CliResult result = Plan({"--mean=240", "--variance=9000", "--units_per_day=5000"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("A change of 5 %"), HasSubstr("5000 new units a day"),
                                HasSubstr("smallest change in 14 days %")));
}

TEST(ExperimentPlanCommandTest, PlansWindowsOfASwitchback) {
  const CliResult result = Plan({"--mean=31", "--variance=16", "--window=60s", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto plan = nlohmann::json::parse(result.out);
  EXPECT_EQ(plan["design"], "switchback");
  EXPECT_EQ(plan["units_per_day"], 1440);
  EXPECT_GT(plan["metrics"][0]["units"], 10);
}

TEST(ExperimentPlanCommandTest, PlansFromALog) {
  const TempDir dir;
  std::string lines;
  for (const auto& record : experiment::PlantedLog(800)) {
    lines += experiment::FormatExposure(record);
  }
  const std::string log = dir.Write("log.jsonl", lines);
  const CliResult result = Plan({log, "--effect=0.1"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out,
              AllOf(HasSubstr("attributed ms/1k tokens"), HasSubstr("KL nats/token (treatment)")));
  EXPECT_THAT(Plan({log, "--experiment=other"}).err, HasSubstr("--experiment: the logs know no"));
  EXPECT_THAT(Plan({dir.Write("empty.jsonl", "")}).err, HasSubstr("no record met an experiment"));
}

TEST(ExperimentPlanCommandTest, WrongFlagsAreNamed) {
  const std::vector<std::string> good = {"--mean=1", "--variance=1", "--units_per_day=1"};
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "expected either LOG..."},
      {{"log", "--mean=1"}, "expected either LOG..."},
      {{"log", "--variance=1"}, "are for a baseline by --mean"},
      {{"--mean=1"}, "--mean needs --variance"},
      {{"--mean=0", "--variance=1", "--window=60s"}, "--mean must be"},
      {{"--mean=1", "--variance=0", "--window=60s"}, "--variance must be"},
      {{"--mean=1", "--variance=1", "--window=1ms"}, "--window must be"},
      {{"--mean=1", "--variance=1", "--units_per_day=nan"}, "--units_per_day must be"},
      {{"log", "--effect=0"}, "--effect must not be 0"},
      {{"log", "--power=2"}, "--power"},
      {{"log", "--control_share=0.8", "--treatment_share=0.5"}, "more than 1 together"},
  };
  for (const auto& [flags, message] : cases) {
    const CliResult result = Plan(flags);
    EXPECT_EQ(result.exit_code, 2) << message;
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_EQ(result.out, "");
  }
  EXPECT_EQ(Plan(good).exit_code, 0);
}

}  // namespace
}  // namespace skipstone::client
