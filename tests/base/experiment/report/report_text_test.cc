#include "base/experiment/report/report_text.h"

#include <nlohmann/json.hpp>

#include "base/experiment/report/report_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/base/experiment/report/example_log.h"

namespace skipstone::experiment {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

ExposureReport Example() {
  ReportBuilder builder({});
  for (const ExposureRecord& record : PlantedLog(4000)) builder.Add(record);
  return builder.Finish({.records = 4000, .refused = 2, .errors = {"a.jsonl:7: torn\x1b"}});
}

TEST(ReportTextTest, TableHasVerdictArmsMetricsAndTheWorst) {
  const std::string table = ToTable(Example());
  EXPECT_THAT(table,
              AllOf(StartsWith("4000 records.\n2 line(s) torn or no records, the first of them:"
                               "\na.jsonl:7: torn\\x1b\n"),
                    HasSubstr("attn-skip-1 (mixed, configuration 0000000000005eed, 2026-09-21 "),
                    HasSubstr("\ntreatment costs "), HasSubstr("\nArms\narm        requests"),
                    HasSubstr("sample ratio: p "), HasSubstr("effects against control"),
                    HasSubstr("-37.5 %"), HasSubstr("\nWhich requests suffer\n"),
                    HasSubstr("request-"), Not(HasSubstr("ITL ms"))));
}

TEST(ReportTextTest, VerdictLinesNameTheExperiment) {
  ExposureReport report = Example();
  EXPECT_THAT(ToVerdictLines(report, "12:00  "),
              StartsWith("12:00  attn-skip-1: treatment costs "));
  report.experiments[0].generations = 2;
  report.experiments[0].verdicts = {"a\nb", "c"};
  EXPECT_EQ(ToVerdictLines(report),
            "attn-skip-1 (0000000000005eed): a\\nb\nattn-skip-1 (0000000000005eed): c\n");
}

TEST(ReportTextTest, JsonHasTheNumbersUnscaled) {
  const auto report = nlohmann::json::parse(ToJson(Example()));
  EXPECT_EQ(report["records"], 4000);
  EXPECT_EQ(report["refused_lines"], 2);
  const auto& experiment = report["experiments"][0];
  EXPECT_EQ(experiment["design"], "mixed");
  EXPECT_EQ(experiment["arms"][1]["values"]["kv_pages"], 20);
  EXPECT_TRUE(experiment["arms"][1]["values"]["itl_s"].is_null());
  EXPECT_EQ(experiment["worst_requests"].size(), 10u);
  EXPECT_FALSE(experiment["looks"].empty());
  for (const auto& effect : experiment["effects"]) {
    if (effect["metric"] != "kv_pages") continue;
    EXPECT_NEAR(effect["value"].get<double>(), -0.375, 1e-9);
    EXPECT_TRUE(effect["is_relative"]);
  }
  const std::string line = ToJsonLine(Example());
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_EQ(nlohmann::json::parse(line), report);
}

TEST(ReportTextTest, JsonOfAnythingCanBeRead) {
  ExposureReport report = Example();
  report.experiments[0].name = "\xff\"\n";
  report.experiments[0].effects[0].value = std::nan("");
  const auto parsed = nlohmann::json::parse(ToJson(report));
  EXPECT_EQ(parsed["experiments"][0]["name"], "\uFFFD\"\n");
  EXPECT_TRUE(parsed["experiments"][0]["effects"][0]["value"].is_null());
}

}  // namespace
}  // namespace skipstone::experiment
