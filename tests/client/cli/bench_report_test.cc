#include "client/cli/bench_report.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

const Time kStart = Time(std::chrono::hours(1));

// Due at `at_ms`, started 2 ms later; tokens at +ttft_ms, 12 and 8 ms later.
LoadRecord Record(int part, int at_ms, int ttft_ms) {
  LoadRecord record;
  record.part = part;
  record.due = kStart + milliseconds(at_ms);
  record.started = record.due + milliseconds(2);
  for (const int ms : {ttft_ms, ttft_ms + 12, ttft_ms + 20}) {
    if (const auto gap = record.AddTokens(record.due + milliseconds(ms), 1)) {
      record.gaps.push_back(*gap);
    }
  }
  record.ended = record.last_token + milliseconds(5);
  record.prompt_tokens = 10;
  record.kv_pages_used = 6;
  record.kv_pages_windowed = 4;
  record.kv_pages_omitted = 2;
  return record;
}

LoadRecord Failed(int part, absl::Status status) {
  LoadRecord record = Record(part, 0, 10);
  record.status = std::move(status);
  return record;
}

std::vector<LoadRecord> Records() {
  return {Record(0, 0, 100), Record(1, 500, 300), Record(0, 975, 0),
          Failed(1, absl::ResourceExhaustedError("the queue is full")),
          Failed(1, absl::ResourceExhaustedError("still full"))};
}

std::vector<MixPart> TwoParts() { return *ParseMix("full;deep"); }

TEST(BenchReportTest, GroupsCountWhatHappened) {
  const BenchReport report = MakeReport(Records(), TwoParts(), *ParseGoodput("ttft:150"));
  EXPECT_DOUBLE_EQ(report.seconds, 1.0);
  EXPECT_DOUBLE_EQ(report.lag.max(), 0.002);
  EXPECT_EQ(report.all.requests, 5);
  EXPECT_EQ(report.all.ok, 3);
  EXPECT_EQ(report.all.good, 2);
  EXPECT_EQ(report.all.prompt_tokens, 30);
  EXPECT_EQ(report.all.output_tokens, 9);
  EXPECT_EQ(report.all.kv_pages_used, 18);
  EXPECT_EQ(report.all.kv_pages_windowed, 12);
  EXPECT_EQ(report.all.kv_pages_omitted, 6);
  EXPECT_EQ(report.all.ttft.count(), 3);
  EXPECT_NEAR(report.all.ttft.mean(), 0.4 / 3, 1e-9);
  EXPECT_EQ(report.all.itl.count(), 6);
  EXPECT_DOUBLE_EQ(report.all.itl.max(), 0.012);
  EXPECT_DOUBLE_EQ(report.all.tpot.mean(), 0.01);
  EXPECT_DOUBLE_EQ(report.all.e2e.max(), 0.325);
  ASSERT_EQ(report.all.failures.size(), 1);
  EXPECT_EQ(report.all.failures.at("RESOURCE_EXHAUSTED").count, 2);
  EXPECT_EQ(report.all.failures.at("RESOURCE_EXHAUSTED").message, "the queue is full");
}

TEST(BenchReportTest, PartsAddUpToAll) {
  const BenchReport report = MakeReport(Records(), TwoParts(), std::nullopt);
  ASSERT_EQ(report.parts.size(), 2);
  EXPECT_EQ(report.parts[0].name, "full");
  EXPECT_EQ(report.parts[0].ok, 2);
  EXPECT_EQ(report.parts[1].requests, 3);
  EXPECT_EQ(report.parts[1].ok, 1);
  const auto sum = [&](auto field) { return report.parts[0].*field + report.parts[1].*field; };
  EXPECT_EQ(sum(&GroupReport::requests), report.all.requests);
  EXPECT_EQ(sum(&GroupReport::ok), report.all.ok);
  EXPECT_EQ(sum(&GroupReport::output_tokens), report.all.output_tokens);
  EXPECT_EQ(sum(&LoadGroup::kv_pages_windowed), report.all.kv_pages_windowed);
  EXPECT_EQ(sum(&LoadGroup::kv_pages_omitted), report.all.kv_pages_omitted);
}

TEST(BenchReportTest, AnswersWithoutTokensAreFailures) {
  LoadRecord record = Record(0, 0, 10);
  record.output_tokens = 0;
  const BenchReport report = MakeReport({record}, {{.name = "default"}}, std::nullopt);
  EXPECT_EQ(report.all.ok, 0);
  EXPECT_EQ(report.all.failures.at("NO_TOKENS").count, 1);
  EXPECT_THAT(report.ToJson().dump(), HasSubstr(R"("ttft_ms":{"count":0,"mean":null)"));
}

TEST(BenchReportTest, JsonHasRatesPerLevelAndInAll) {
  BenchReport report = MakeReport(Records(), TwoParts(), *ParseGoodput("ttft:150"));
  report.open_loop = true;
  report.shortened = 4;
  const auto json = report.ToJson();
  EXPECT_EQ(json["loop"], "open");
  EXPECT_EQ(json["shortened"], 4);
  EXPECT_EQ(json["start_lag_ms"]["p50"], 2.0);
  EXPECT_EQ(json["all"]["requests_per_s"], 3.0);
  EXPECT_EQ(json["all"]["output_tokens_per_s"], 9.0);
  EXPECT_EQ(json["all"]["total_tokens_per_s"], 39.0);
  EXPECT_EQ(json["all"]["kv_pages_windowed"], 12);
  EXPECT_EQ(json["all"]["good"], 2);
  EXPECT_EQ(json["all"]["goodput_per_s"], 2.0);
  EXPECT_EQ(json["levels"]["deep"]["failures"]["RESOURCE_EXHAUSTED"]["count"], 2);
  EXPECT_EQ(json["levels"]["full"]["requests"], 2);
  EXPECT_FALSE(MakeReport(Records(), TwoParts(), std::nullopt).ToJson()["all"].contains("good"));
}

TEST(BenchReportTest, CountsWhatTheLoadChangedPerPart) {
  std::vector<LoadRecord> records = Records();
  records[0].browned_out = true;
  records[1].browned_out = records[1].shed = true;
  records[3].browned_out = true;  // and failed, so it counts as that
  BenchReport report = MakeReport(records, TwoParts(), std::nullopt);
  EXPECT_EQ(report.all.browned_out, 2);
  EXPECT_EQ(report.all.shed, 1);
  EXPECT_EQ(report.ToJson()["levels"]["full"]["browned_out"], 1);
  EXPECT_EQ(report.ToJson()["levels"]["full"]["shed"], 0);
  EXPECT_EQ(report.ToJson()["levels"]["deep"]["shed"], 1);
  std::ostringstream without;
  report.Print(without);
  EXPECT_THAT(without.str(), Not(HasSubstr("browned out")));
  report.has_ceiling = true;
  std::ostringstream with;
  report.Print(with);
  EXPECT_THAT(with.str(), HasSubstr("windowed  omitted  browned out  shed\n"));
}

TEST(BenchReportTest, TablesHaveARowPerPartAndOneOfAll) {
  BenchReport report = MakeReport(Records(), TwoParts(), *ParseGoodput("ttft:150"));
  report.open_loop = true;
  report.shortened = 1;
  std::ostringstream out;
  report.Print(out);
  EXPECT_THAT(out.str(), HasSubstr("goodput/s"));
  EXPECT_THAT(out.str(), HasSubstr("\nTTFT  all"));
  EXPECT_THAT(out.str(), HasSubstr("\nE2E   deep"));
  EXPECT_THAT(out.str(), HasSubstr("open loop"));
  EXPECT_THAT(out.str(), HasSubstr("1 requests were shortened"));
  EXPECT_THAT(out.str(), HasSubstr("2 failed with RESOURCE_EXHAUSTED: the queue is full"));

  std::ostringstream single;
  MakeReport({Record(0, 0, 10)}, *ParseMix("full"), std::nullopt).Print(single);
  EXPECT_THAT(single.str(), HasSubstr("closed loop"));
  EXPECT_THAT(single.str(), Not(HasSubstr("all")));
  EXPECT_THAT(single.str(), Not(HasSubstr("goodput")));
}

}  // namespace
}  // namespace skipstone::client
