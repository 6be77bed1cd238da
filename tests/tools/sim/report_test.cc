#include "tools/sim/report.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tools/sim/sim_fixture.h"

namespace skipstone {
namespace {

using ::testing::HasSubstr;

// First token after 20 ms, then gaps of 10 and 30 ms.
RequestRecord Record(int level) {
  return {.arrival = AtMs(100),
          .first_token = AtMs(120),
          .last_token = AtMs(160),
          .longest_gap = std::chrono::milliseconds(30),
          .prompt_tokens = 14,
          .cached_tokens = 8,
          .output_tokens = 3,
          .preemptions = 1,
          .kept_layers = static_cast<int16_t>(level == 0 ? 4 : 2),
          .level = static_cast<int16_t>(level),
          .replica = 0};
}

TEST(GoodputTest, EachLimitCounts) {
  const RequestRecord record = Record(0);
  EXPECT_TRUE(GoodputLimits{}.KeptBy(record));
  EXPECT_TRUE((GoodputLimits{0.020, 0.030, 0.020, 0.060}.KeptBy(record)));
  EXPECT_FALSE((GoodputLimits{.ttft_s = 0.019}.KeptBy(record)));
  EXPECT_FALSE((GoodputLimits{.itl_s = 0.029}.KeptBy(record)));
  EXPECT_FALSE((GoodputLimits{.tpot_s = 0.019}.KeptBy(record)));
  EXPECT_FALSE((GoodputLimits{.e2e_s = 0.059}.KeptBy(record)));
}

TEST(GoodputTest, ASingleTokenHasNoGapAndARefusedRequestIsNeverGood) {
  RequestRecord record = Record(0);
  record.output_tokens = 1;
  record.last_token = record.first_token;
  record.longest_gap = {};
  EXPECT_TRUE((GoodputLimits{.itl_s = 1e-9, .tpot_s = 1e-9}.KeptBy(record)));
  record.replica = -1;
  EXPECT_FALSE(GoodputLimits{}.KeptBy(record));
}

SimReport SmallReport() {
  SimResult result;
  result.requests = {Record(0), Record(1), Record(1), {.arrival = AtMs(100), .level = 1}};
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
  return MakeReport(result, fleet, Levels("none;attn:last=50%"), {.ttft_s = 0.04});
}

TEST(ReportTest, AddsUpPerLevelAndInAll) {
  const SimReport report = SmallReport();
  ASSERT_EQ(report.levels.size(), 2u);
  const GroupReport& half = report.levels[1];
  EXPECT_EQ(half.requests, 3);
  EXPECT_EQ(half.refused, 1);
  EXPECT_EQ(half.good, 1);
  EXPECT_EQ(half.prompt_tokens, 28);
  EXPECT_EQ(half.output_tokens, 6);
  EXPECT_EQ(half.preemptions, 2);
  EXPECT_EQ(half.pages, 2 * 2 * 4);  // 16 stored tokens: 4 blocks of 2 layers, twice
  EXPECT_EQ(report.levels[0].pages, 4 * 4);
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

TEST(ReportTest, JsonHoldsWhatTheTableShows) {
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
  EXPECT_DOUBLE_EQ(half["ttft_ms"]["mean"], 35);
  EXPECT_EQ(json["all"]["itl_ms"]["count"], 3);
  EXPECT_THAT(ToTable(report), HasSubstr("attn:last=50%"));
  EXPECT_THAT(ToTable(report), HasSubstr("K/V pages 12.5 % mean"));
}

TEST(ReportTest, AnEmptyRunHasAReportToo) {
  SimResult result;
  result.gaps.resize(1);
  const SimReport report = MakeReport(result, Fleet(8, 4, 100), Levels("none"), {});
  const auto json = nlohmann::json::parse(ToJson(report));
  EXPECT_EQ(json["all"]["ttft_ms"]["count"], 0);
  EXPECT_EQ(json["all"]["output_tokens_per_s"], 0);
  EXPECT_THAT(ToTable(report), HasSubstr("none"));
  EXPECT_THAT(ToSvg(report), HasSubstr("</svg>"));
}

TEST(ReportTest, PlotsACurvePerLevel) {
  const std::string svg = ToSvg(SmallReport());
  EXPECT_THAT(svg, HasSubstr("Time to first token"));
  EXPECT_THAT(svg, HasSubstr(">attn:last=50%</text>"));
  size_t curves = 0;
  for (size_t at = svg.find("<polyline"); at != svg.npos; at = svg.find("<polyline", at + 1)) {
    ++curves;
  }
  EXPECT_EQ(curves, 2u + 2u + 1u + 1u);
}

}  // namespace
}  // namespace skipstone
