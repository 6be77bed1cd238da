#include "tools/sim/report.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/tools/sim/sim_fixture.h"

namespace skipstone {
namespace {

// First token after 20 ms, then gaps of 10 and 30 ms.
SimRecord Record(int part) {
  SimRecord record;
  record.part = part;
  record.due = AtMs(100);
  for (const int ms : {120, 130, 160}) record.AddTokens(AtMs(ms), 1);
  record.ended = record.last_token;
  record.prompt_tokens = 14;
  record.cached_tokens = 8;
  record.preemptions = 1;
  record.kept_layers = 4;
  record.windowed_layers = static_cast<int16_t>(part == 0 ? 0 : 2);
  record.pages = part == 0 ? 16 : 8;
  record.replica = 0;
  return record;
}

SimReport SmallReport() {
  SimResult result;
  result.requests = {Record(0), Record(1), Record(1), SimRecord()};
  result.requests[3].part = 1;  // and refused
  result.requests[2].first_token = AtMs(150);
  result.gaps.resize(2);
  result.gaps[0].Add(0.01);
  result.gaps[0].Add(0.03);
  result.gaps[1].Add(0.02);
  result.pages.Set(AtMs(0), 25);
  result.pages.Set(AtMs(2000), 0);
  result.total_pages = 200;
  result.steps = 10;
  result.rows = 55;
  result.busy_seconds = 1;
  result.seconds = 2;
  FleetOptions fleet = Fleet(8, 4, 100);
  fleet.replicas = 2;
  return MakeReport(result, fleet, *ParseMix("none;attn:last=50%"), {.ttft_s = 0.04});
}

TEST(ReportTest, AddsUpPerLevelAndInAll) {
  const SimReport report = SmallReport();
  ASSERT_EQ(report.levels.size(), 2u);
  const SimGroup& half = report.levels[1];
  EXPECT_EQ(half.requests, 3);
  EXPECT_EQ(half.ok, 2);
  EXPECT_EQ(half.good, 1);
  EXPECT_EQ(half.prompt_tokens, 28);
  EXPECT_EQ(half.output_tokens, 6);
  EXPECT_EQ(half.preemptions, 2);
  EXPECT_EQ(half.pages, 2 * 8);
  EXPECT_EQ(half.kept_layers, 2 * 4);
  EXPECT_EQ(half.windowed_layers, 2 * 2);
  EXPECT_EQ(report.levels[0].pages, 16);
  EXPECT_DOUBLE_EQ(half.HitRate(), 16.0 / 28);
  EXPECT_DOUBLE_EQ(half.ttft.mean(), 0.035);
  EXPECT_DOUBLE_EQ(half.tpot.mean(), (0.02 + 0.005) / 2);
  EXPECT_DOUBLE_EQ(half.e2e.mean(), 0.06);
  EXPECT_EQ(report.all.requests, 4);
  EXPECT_EQ(report.all.good, 2);
  EXPECT_EQ(report.all.itl.count(), 3);
  EXPECT_DOUBLE_EQ(report.all.itl.mean(), 0.02);
  EXPECT_DOUBLE_EQ(report.busy_fraction, 0.25);
  EXPECT_DOUBLE_EQ(report.rows_per_step, 5.5);
}

TEST(ReportTest, JsonHoldsGroupsAndPoints) {
  const SimReport report = SmallReport();
  const auto json = nlohmann::json::parse(ToJson(report));
  EXPECT_EQ(json["replicas"], 2);
  EXPECT_EQ(json["kv_pages"]["total"], 200);
  EXPECT_NEAR(json["kv_pages"]["mean"].get<double>(), 25, 1e-9);
  const auto& half = json["levels"]["attn:last=50%"];
  EXPECT_EQ(half["requests"], 3);
  EXPECT_EQ(half["refused"], 1);
  EXPECT_DOUBLE_EQ(half["output_tokens_per_s"], 3);
  EXPECT_DOUBLE_EQ(half["goodput_per_s"], 0.5);
  EXPECT_DOUBLE_EQ(half["kv_pages_per_request"], 8);
  EXPECT_DOUBLE_EQ(half["kept_attention_per_request"], 4);
  EXPECT_DOUBLE_EQ(half["windowed_attention_per_request"], 2);
  EXPECT_DOUBLE_EQ(half["ttft_ms"]["mean"], 35);
  EXPECT_EQ(json["all"]["itl_ms"]["count"], 3);
  EXPECT_EQ(half["itl_ms"]["cumulative"], nlohmann::json::parse("[[20, 1]]"));
  EXPECT_EQ(half["ttft_ms"]["cumulative"].size(), 2u);
  EXPECT_EQ(json["kv_pages"]["points"].size(), report.pages.Points().size());
}

TEST(ReportTest, AnEmptyRunHasAReportToo) {
  SimResult result;
  result.gaps.resize(1);
  const SimReport report = MakeReport(result, Fleet(8, 4, 100), *ParseMix("none"), {});
  const auto json = nlohmann::json::parse(ToJson(report));
  EXPECT_EQ(json["all"]["ttft_ms"]["count"], 0);
  EXPECT_EQ(json["all"]["output_tokens_per_s"], 0);
}

}  // namespace
}  // namespace skipstone
