#include "base/workload/group_report.h"

#include <cmath>
#include <map>
#include <string>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

using std::chrono::milliseconds;

// Tokens 20, 30 and 60 ms after it was due, the end 5 ms later.
RequestRecord Record() {
  RequestRecord record{.due = Time(milliseconds(100)), .prompt_tokens = 14, .shed = true};
  for (const int ms : {20, 30, 60}) record.AddTokens(record.due + milliseconds(ms), 1);
  record.ended = record.last_token + milliseconds(5);
  return record;
}

TEST(RequestRecordTest, TokensLeaveTimesAndTheLongestGap) {
  RequestRecord record;
  EXPECT_FALSE(record.AddTokens(Time(milliseconds(20)), 2).has_value());
  EXPECT_EQ(record.AddTokens(Time(milliseconds(50)), 1), Duration(milliseconds(30)));
  EXPECT_EQ(record.AddTokens(Time(milliseconds(60)), 1), Duration(milliseconds(10)));
  EXPECT_EQ(record.output_tokens, 4);
  EXPECT_EQ(record.longest_gap, milliseconds(30));
  EXPECT_DOUBLE_EQ(record.Ttft(), 0.02);
  EXPECT_DOUBLE_EQ(record.Tpot(), 0.04 / 3);
}

TEST(GroupReportTest, AddsUpWhatEndedWell) {
  GroupReport group;
  group.Add(Record(), true, {.ttft_s = 0.02});
  group.Add(Record(), true, {.ttft_s = 0.019});
  group.Add(Record(), false, {});
  EXPECT_EQ(group.requests, 3);
  EXPECT_EQ(group.ok, 2);
  EXPECT_EQ(group.good, 1);
  EXPECT_EQ(group.prompt_tokens, 28);
  EXPECT_EQ(group.output_tokens, 6);
  EXPECT_EQ(group.shed, 2);
  EXPECT_EQ(group.browned_out, 0);
  EXPECT_DOUBLE_EQ(group.ttft.mean(), 0.02);
  EXPECT_DOUBLE_EQ(group.tpot.mean(), 0.02);
  EXPECT_DOUBLE_EQ(group.e2e.max(), 0.065);
}

TEST(GroupReportTest, OneTokenHasNoTimePerToken) {
  RequestRecord record;
  record.AddTokens(Time(milliseconds(5)), 1);
  record.ended = record.last_token;
  GroupReport group;
  group.Add(record, true, {});
  EXPECT_EQ(group.tpot.count(), 0);
  EXPECT_EQ(group.e2e.count(), 1);
}

// What WriteTo asks of a JSON library.
struct FakeJson {
  std::map<std::string, FakeJson> members;
  double number = 0;
  FakeJson& operator[](const std::string& key) { return members[key]; }
  void operator=(double value) { number = value; }
};

TEST(GroupReportTest, WritesRatesAndMilliseconds) {
  GroupReport group;
  group.Add(Record(), true, {});
  FakeJson json;
  group.WriteTo(json, 2);
  EXPECT_EQ(json["requests"].number, 1);
  EXPECT_EQ(json["requests_per_s"].number, 0.5);
  EXPECT_EQ(json["output_tokens_per_s"].number, 1.5);
  EXPECT_EQ(json["total_tokens_per_s"].number, 8.5);
  EXPECT_EQ(json["e2e_ms"]["count"].number, 1);
  EXPECT_DOUBLE_EQ(json["e2e_ms"]["max"].number, 65);
  EXPECT_TRUE(std::isnan(json["itl_ms"]["mean"].number));
  EXPECT_EQ(PerSecond(5, 0), 0);
}

}  // namespace
}  // namespace skipstone
