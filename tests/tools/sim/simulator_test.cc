#include "tools/sim/simulator.h"

#include <numeric>
#include <string>
#include <vector>

#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"
#include "tests/tools/sim/sim_fixture.h"

namespace skipstone {
namespace {

TEST(SimulatorTest, ASmallCaseByHand) {
  // Budget 8: the prompt of 12 takes two steps, the one of 3 fits beside its end.
  const SimResult result = RunTrace(Fleet(8, 4, 100), {Row(0, 12, 3), Row(5, 3, 2)});
  ASSERT_EQ(result.requests.size(), 2u);
  const SimRecord& a = result.requests[0];
  const SimRecord& b = result.requests[1];
  EXPECT_EQ(a.first_token, AtMs(20));
  EXPECT_EQ(a.last_token, AtMs(40));
  EXPECT_EQ(a.longest_gap, std::chrono::milliseconds(10));
  EXPECT_EQ(a.output_tokens, 3);
  EXPECT_EQ(b.due, AtMs(5));
  EXPECT_EQ(b.first_token, AtMs(20));
  EXPECT_EQ(b.last_token, AtMs(30));
  EXPECT_EQ(result.gaps[0].count(), 3);
  EXPECT_EQ(result.steps, 4);
  EXPECT_EQ(result.rows, 12 + 2 + 3 + 1);
  EXPECT_DOUBLE_EQ(result.seconds, 0.04);
  EXPECT_DOUBLE_EQ(result.busy_seconds, 0.04);
  // By step: 2 blocks of 4 layers; 3 + 1; 4 + 1; 4.
  EXPECT_NEAR(result.pages.mean(), (8 + 16 + 20 + 16) / 4.0, 1e-9);
  EXPECT_EQ(result.pages.max(), 20);
  EXPECT_NEAR(result.waiting.mean(), 0.125, 1e-9);  // one request for 5 of 40 ms
}

TEST(SimulatorTest, ASecondPlanInFlightDelaysNewcomersByAStep) {
  FleetOptions fleet = Fleet(8, 4, 100);
  fleet.max_in_flight = 2;
  const SimResult result = RunTrace(fleet, {Row(0, 12, 3), Row(5, 3, 2)});
  EXPECT_EQ(result.requests[0].first_token, AtMs(20));
  EXPECT_EQ(result.requests[0].last_token, AtMs(40));
  EXPECT_EQ(result.requests[1].first_token, AtMs(30));
  EXPECT_EQ(result.requests[1].last_token, AtMs(40));
}

TEST(SimulatorTest, RequestsOfOneInstantShareTheirFirstStep) {
  const SimResult result = RunTrace(Fleet(64, 4, 100), {Row(0, 5, 1), Row(0, 5, 1), Row(0, 5, 1)});
  EXPECT_EQ(result.steps, 1);
  for (const SimRecord& record : result.requests) EXPECT_EQ(record.first_token, AtMs(10));
}

TEST(SimulatorTest, AnIdleFleetWaitsForTheNextRequest) {
  const SimResult result = RunTrace(Fleet(64, 4, 100), {Row(0, 5, 1), Row(500, 5, 1)});
  EXPECT_EQ(result.requests[1].first_token, AtMs(510));
  EXPECT_DOUBLE_EQ(result.busy_seconds, 0.02);
  EXPECT_DOUBLE_EQ(result.seconds, 0.51);
}

TEST(SimulatorTest, RequestsShedLayersWithinTheCeilingInsteadOfBeingPreempted) {
  // Two requests of 8 + 8 stored tokens want 16 pages each of 24: one has to give way.
  FleetOptions fleet = Fleet(64, 4, 24);
  const SimResult rigid = RunTrace(fleet, {Row(0, 8, 9), Row(0, 8, 9)});
  EXPECT_EQ(rigid.requests[1].preemptions, 1);
  EXPECT_FALSE(rigid.requests[1].shed);
  EXPECT_EQ(rigid.requests[1].kept_layers, 4);
  fleet.ceiling = *ParseSkipSet("attn:last=50%", kSimLayers);
  const SimResult adaptive = RunTrace(fleet, {Row(0, 8, 9), Row(0, 8, 9)});
  EXPECT_EQ(adaptive.requests[1].preemptions, 0);
  EXPECT_TRUE(adaptive.requests[1].shed);
  EXPECT_EQ(adaptive.requests[1].kept_layers, 2);
  EXPECT_LT(adaptive.seconds, rigid.seconds);
}

TEST(SimulatorTest, RequestsStartAtTheCeilingWhileTheQueueIsAboveItsMark) {
  FleetOptions fleet = Fleet(64, 1, 100);
  fleet.ceiling = *ParseSkipSet("attn:last=50%", kSimLayers);
  fleet.scheduler.brownout_waiting = 1;
  // One runs at a time. At its arrival the third finds one waiting, the fourth two.
  const SimResult result =
      RunTrace(fleet, {Row(0, 5, 9), Row(11, 5, 9), Row(12, 5, 9), Row(13, 5, 9)}, "none");
  const std::vector<bool> browned_out = {
      result.requests[0].browned_out, result.requests[1].browned_out,
      result.requests[2].browned_out, result.requests[3].browned_out};
  EXPECT_EQ(browned_out, (std::vector<bool>{false, false, false, true}));
  EXPECT_EQ(result.requests[3].kept_layers, 2);
}

TEST(SimulatorTest, ARequestBeyondTheCeilingStaysAsItIs) {
  FleetOptions fleet = Fleet(64, 4, 24);
  fleet.ceiling = *ParseSkipSet("attn:3", kSimLayers);
  const SimResult result = RunTrace(fleet, {Row(0, 8, 9), Row(0, 8, 9)}, "attn:last=50%");
  EXPECT_FALSE(result.requests[0].shed || result.requests[1].shed);
}

TEST(SimulatorTest, RefusesWhatCanNeverFit) {
  // 20 stored tokens are 5 blocks of 4 pages, or of 2 where half of the layers skip.
  const SimResult full = RunTrace(Fleet(64, 4, 19), {Row(0, 11, 10), Row(0, 11, 5)});
  EXPECT_TRUE(full.requests[0].refused());
  EXPECT_EQ(full.requests[0].output_tokens, 0);
  EXPECT_EQ(full.requests[1].output_tokens, 5);
  EXPECT_FALSE(RunTrace(Fleet(64, 4, 19), {Row(0, 11, 10)}, "attn:last=50%").requests[0].refused());
}

// 60 stored tokens are 15 blocks; a window of 16 holds the 4 of the sink and its own 4.
TEST(SimulatorTest, WindowsHoldTheSinkAndTheirTail) {
  const auto record_of = [](const char* mix) {
    return RunTrace(Fleet(64, 4, 100), {Row(0, 41, 20)}, mix).requests[0];
  };
  EXPECT_EQ(record_of("none").pages, 4 * 15);
  EXPECT_EQ(record_of("attn:last=50%").pages, 2 * 15);
  const SimRecord windowed = record_of("win:last=50%/16");
  EXPECT_EQ(windowed.pages, 2 * 15 + 2 * (4 + 4));
  EXPECT_EQ(windowed.kept_layers, 4);
  EXPECT_EQ(windowed.windowed_layers, 2);
  // While it runs it takes a block more than it ends with: 2 x 15 + 2 x 9.
  EXPECT_FALSE(
      RunTrace(Fleet(64, 4, 48), {Row(0, 41, 20)}, "win:last=50%/16").requests[0].refused());
  EXPECT_TRUE(
      RunTrace(Fleet(64, 4, 47), {Row(0, 41, 20)}, "win:last=50%/16").requests[0].refused());
}

// Two requests of 90 stored tokens want 23 x 4 pages each of 174. The deepest layer's window leaves
// it 9 of 23.
TEST(SimulatorTest, RequestsShedWindowsWhereTheCeilingHasThem) {
  FleetOptions fleet = Fleet(64, 4, 174);
  const std::vector<TraceRow> trace = {Row(0, 40, 51), Row(0, 40, 51)};
  EXPECT_EQ(RunTrace(fleet, trace).requests[1].preemptions, 1);
  fleet.ceiling = *ParseSkipSet("win:last=50%/16", kSimLayers);
  const SimRecord shed = RunTrace(fleet, trace).requests[1];
  EXPECT_EQ(shed.preemptions, 0);
  EXPECT_TRUE(shed.shed);
  EXPECT_EQ(shed.kept_layers, 4);
  EXPECT_EQ(shed.windowed_layers, 1);
  EXPECT_EQ(shed.pages, 3 * 23 + 9);
}

TEST(SimulatorTest, NoRequestsNoResult) {
  const SimResult result = Simulate(Fleet(8, 4, 100), {.requests = 0, .rate = 1});
  EXPECT_TRUE(result.requests.empty());
  EXPECT_EQ(result.steps, 0);
  EXPECT_EQ(result.seconds, 0);
}

TEST(SimulatorTest, SkipSetsAreNamedWhenWrong) {
  EXPECT_EQ((*ParseSkipSets(*ParseMix("none; attn:last=2 @3"), kSimLayers))[1].SkippedAttention(),
            2);
  const auto status = ParseSkipSets(*ParseMix("none;attn:9"), kSimLayers).status();
  EXPECT_NE(std::string(status.message()).find("9"), std::string::npos) << status;
}

// ---- traffic ----

WorkloadOptions Traffic(uint64_t requests, double rate) {
  return {.requests = requests,
          .rate = rate,
          .prompt = *LengthDistribution::Parse("lognormal:20:1"),
          .output = *LengthDistribution::Parse("1-40"),
          .context = 200,
          .prefix_fraction = 0.4,
          .prefixes = 3,
          .prefix_tokens = 16};
}

constexpr char kMix[] = "none@2;attn:last=50%@1;attn:1+mlp:2@1";

// Enough traffic for queues and for preemptions.
SimResult RunTraffic(Routing routing, uint64_t seed) {
  FleetOptions fleet = Fleet(32, 16, 200);
  fleet.replicas = 3;
  fleet.max_in_flight = 2;
  fleet.routing = routing;
  WorkloadOptions options = Traffic(1500, 60);
  options.seed = seed;
  return Simulate(fleet, options, kMix);
}

TEST(SimulatorTest, EveryRequestEndsWithItsTokens) {
  for (const Routing routing :
       {Routing::kRoundRobin, Routing::kLeastLoaded, Routing::kPrefixAffine}) {
    const SimResult result = RunTraffic(routing, 1);
    Workload asked(Traffic(1500, 60), *ParseMix(kMix));
    ASSERT_EQ(result.requests.size(), 1500u);
    int64_t preemptions = 0, cached = 0, gaps = 0;
    for (const SimRecord& record : result.requests) {
      const PlannedRequest request = *asked.Next();
      EXPECT_EQ(record.due, Time(request.arrival));
      EXPECT_EQ(record.prompt_tokens, request.prompt_tokens);
      EXPECT_EQ(record.output_tokens, request.output_tokens);
      EXPECT_EQ(record.part, request.part);
      EXPECT_GT(record.first_token, record.due);
      EXPECT_GE(record.last_token, record.first_token);
      EXPECT_LT(record.cached_tokens, record.prompt_tokens);
      preemptions += record.preemptions;
      cached += record.cached_tokens;
      gaps += record.output_tokens - 1;
    }
    // The traffic does what it is for.
    EXPECT_GT(preemptions, 10);
    EXPECT_GT(cached, 1000);
    EXPECT_GT(result.waiting.max(), 10);
    const int64_t counted = std::accumulate(
        result.gaps.begin(), result.gaps.end(), int64_t{0},
        [](int64_t sum, const Histogram& histogram) { return sum + histogram.count(); });
    EXPECT_EQ(counted, gaps);
    EXPECT_LE(result.pages.max(), result.total_pages);
    EXPECT_LE(result.busy_seconds, 3 * result.seconds);
  }
}

TEST(SimulatorTest, EqualSeedsGiveEqualResults) {
  const SimResult first = RunTraffic(Routing::kPrefixAffine, 9);
  const SimResult second = RunTraffic(Routing::kPrefixAffine, 9);
  EXPECT_EQ(first.requests, second.requests);
  EXPECT_EQ(first.pages.Points(), second.pages.Points());
  EXPECT_EQ(first.steps, second.steps);
  EXPECT_NE(first.requests, RunTraffic(Routing::kPrefixAffine, 10).requests);
}

// ---- against theory ----

TEST(SimulatorTest, OneSlotOfConstantServiceQueuesAsMD1) {
  // Pollaczek and Khinchine: mean wait = rho / (2 (1 - rho)) service times.
  constexpr double kService = 0.01;
  for (const double rho : {0.5, 0.8}) {
    const SimResult result =
        Simulate(Fleet(8, 1, 100), {.requests = 200000, .rate = rho / kService}, "none", kService);
    double wait = 0;
    for (const SimRecord& record : result.requests) {
      wait += Seconds(record.first_token - record.due) - kService;
    }
    const double expected = rho / (2 * (1 - rho)) * kService;
    EXPECT_NEAR(wait / 200000, expected, 0.04 * expected) << rho;
    EXPECT_NEAR(result.busy_seconds / result.seconds, rho, 0.01);
  }
}

TEST(SimulatorTest, WherePagesBindTheCapacityFollowsTheKeptLayers) {
  // All come at once, and a step takes as long however many run: seconds ~ 1 / sequences at once.
  const std::vector<TraceRow> trace(3000, Row(0, 16, 64));
  FleetOptions fleet = Fleet(4096, 1024, 4000);
  fleet.scheduler.prefix_cache = false;
  const double full = RunTrace(fleet, trace).seconds;
  const double half = RunTrace(fleet, trace, "attn:last=50%").seconds;
  const double quarter = RunTrace(fleet, trace, "attn:last=25%").seconds;
  EXPECT_NEAR(full / half, 2.0, 0.06);
  EXPECT_NEAR(full / quarter, 4.0 / 3, 0.04);
  // 20 blocks of 4 layers each at the end: near 4000 / 80 at once, 50 to 100 as they grow.
  const double at_once = 3000 * 64 * 0.01 / full;
  EXPECT_GT(at_once, 50);
  EXPECT_LT(at_once, 100);
}

TEST(SimulatorTest, ReplicasShareTheLoad) {
  const std::vector<TraceRow> trace(1200, Row(0, 16, 64));
  FleetOptions fleet = Fleet(64, 32, 4000);
  const double one = RunTrace(fleet, trace).seconds;
  fleet.replicas = 4;
  for (const Routing routing : {Routing::kRoundRobin, Routing::kLeastLoaded}) {
    fleet.routing = routing;
    EXPECT_NEAR(one / RunTrace(fleet, trace).seconds, 4, 0.3);
  }
}

double HitRate(Routing routing, bool prefix_cache) {
  FleetOptions fleet = Fleet(64, 16, 1000);
  fleet.replicas = 4;
  fleet.routing = routing;
  fleet.scheduler.prefix_cache = prefix_cache;
  WorkloadOptions options{.requests = 300,
                          .rate = 5,
                          .prompt = *LengthDistribution::Parse("80-100"),
                          .output = *LengthDistribution::Parse("1-4"),
                          .prefix_fraction = 1,
                          .prefixes = 20,
                          .prefix_tokens = 64};
  const SimResult result = Simulate(fleet, options);
  int64_t cached = 0, prompts = 0;
  for (const SimRecord& record : result.requests) {
    EXPECT_LE(record.cached_tokens, 64);
    cached += record.cached_tokens;
    prompts += record.prompt_tokens;
  }
  return static_cast<double>(cached) / static_cast<double>(prompts);
}

TEST(SimulatorTest, AffineRoutingFindsPrefixesThatRoundRobinMisses) {
  // 20 prefixes of 64 pages: too many for a pool of 1,000, where a quarter of them has room.
  const double affine = HitRate(Routing::kPrefixAffine, true);
  const double robin = HitRate(Routing::kRoundRobin, true);
  EXPECT_GT(affine, 0.5);
  EXPECT_LT(robin, affine - 0.2);
  EXPECT_GT(robin, 0);
  EXPECT_EQ(HitRate(Routing::kPrefixAffine, false), 0);
}

}  // namespace
}  // namespace skipstone
