// The autoscaler by itself, then over a fleet whose requests allow load to take attention away:
// it is taken first, replicas come second, and it is given back last.
#include "tools/sim/autoscaler.h"

#include <optional>
#include <vector>

#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"
#include "tests/tools/sim/sim_fixture.h"

namespace skipstone {
namespace {

Time AtS(int seconds) { return AtMs(1000 * seconds); }

// Decides each 15 s with the same mean until `seconds`; how many serve then.
int After(Autoscaler& scaler, int from, int seconds, double mean) {
  for (int s = from; s <= seconds; ++s) {
    if (AtS(s) >= scaler.next()) scaler.Advance(AtS(s), mean);
  }
  return scaler.serving();
}

TEST(AutoscalerTest, WantsSoManyThatTheirMeanIsTheTarget) {
  Autoscaler scaler({.most = 8, .target = 0.5}, 2);
  EXPECT_EQ(After(scaler, 0, 59, 1.0), 2) << "they start";
  EXPECT_EQ(After(scaler, 60, 74, 0.5), 4) << "2 x 1.0 / 0.5";
  EXPECT_EQ(After(scaler, 75, 300, 0.54), 4) << "within a tenth";
}

TEST(AutoscalerTest, StaysWithinItsBounds) {
  Autoscaler scaler({.most = 3}, 2);
  EXPECT_EQ(After(scaler, 0, 1000, 1.0), 3);
  EXPECT_EQ(After(scaler, 1001, 5000, 0.0), 2);
}

TEST(AutoscalerTest, GoesDownSlowlyAndOnlyIfNothingLatelyWantedMore) {
  Autoscaler scaler({.most = 4, .target = 0.5}, 1);
  EXPECT_EQ(After(scaler, 0, 400, 1.0), 4);
  EXPECT_EQ(After(scaler, 401, 690, 0.0), 4) << "five minutes";
  EXPECT_EQ(After(scaler, 691, 725, 0.0), 3);
  EXPECT_EQ(After(scaler, 726, 820, 0.0), 3) << "one in two minutes";
  EXPECT_EQ(After(scaler, 821, 850, 0.0), 2);
}

// A second's arrivals of 40 tokens each that take 0.4 s: quiet, a rush of ten minutes, quiet.
std::vector<TraceRow> Rush() {
  std::vector<TraceRow> rows;
  for (int s = 0; s < 2400; ++s) {
    const int requests = s >= 300 && s < 900 ? 40 : 4;
    for (int i = 0; i < requests; ++i)
      rows.push_back(Row(1000 * s + i * (1000 / requests), 16, 40));
  }
  return rows;
}

// 16 + 39 stored tokens keep up to 14 blocks of 4 layers: in the rush 16 requests at once want some
// 600 pages, of which a replica has 560.
FleetOptions ScaledFleet(bool shed) {
  FleetOptions fleet = Fleet(64, 32, 560);
  fleet.replicas = 1;
  fleet.autoscaler = {.most = 6, .target = 0.6, .shed = shed};
  fleet.ceiling = *ParseSkipSet("attn:last=50%", kSimLayers);
  fleet.scheduler.brownout_pages = 0.5;
  fleet.scheduler.brownout_waiting = 1000;
  return fleet;
}

// The first point (its middle, seconds: a plot has 512 at most) from `from` on at which the series is above `bound`.
std::optional<double> FirstAbove(const TimeSeries& series, double bound, double from) {
  for (const auto& [seconds, value] : series.Points()) {
    if (seconds >= from && value > bound) return seconds;
  }
  return std::nullopt;
}
std::optional<double> LastAbove(const TimeSeries& series, double bound) {
  std::optional<double> last;
  for (const auto& [seconds, value] : series.Points()) {
    if (value > bound) last = seconds;
  }
  return last;
}

TEST(AutoscalerTest, ShedsFirstScalesSecondRestoresLast) {
  const SimResult result = RunTrace(ScaledFleet(true), Rush());
  EXPECT_LE(FirstAbove(result.shed, 0.1, 0).value_or(1e9), 310) << "within seconds of the rush";
  const double scaled = FirstAbove(result.serving, 1.01, 0).value_or(1e9);
  EXPECT_GE(scaled, 300 + 60) << "a replica takes a minute to start";
  EXPECT_LE(scaled, 400);
  const double restored = LastAbove(result.shed, 0.05).value_or(0);
  EXPECT_GE(restored, scaled) << "not before one serves";
  EXPECT_LT(restored, 900) << "long before the rush is over";
  EXPECT_LE(result.serving.Points().back().second, 1.1) << "and in the end they go";
  for (const SimRecord& record : result.requests) ASSERT_FALSE(record.refused());
}

TEST(AutoscalerTest, WithoutTheShedLevelQualityIsNotGivenBack) {
  const SimResult blind = RunTrace(ScaledFleet(false), Rush());
  const SimResult seeing = RunTrace(ScaledFleet(true), Rush());
  EXPECT_GT(blind.shed.mean(), 2 * seeing.shed.mean());
  EXPECT_LT(blind.serving.max(), seeing.serving.max());
}

TEST(AutoscalerTest, WithoutItTheFleetIsAsItWas) {
  const SimResult result = RunTrace(Fleet(64, 4, 100), {Row(0, 5, 1), Row(500, 5, 1)});
  EXPECT_EQ(result.serving.max(), 0);
  EXPECT_DOUBLE_EQ(result.seconds, 0.51);
}

}  // namespace
}  // namespace skipstone
