#include "base/workload/workload.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace skipstone {
namespace {

Duration Ms(int ms) { return std::chrono::milliseconds(ms); }

std::vector<PlannedRequest> Drain(const WorkloadOptions& options, const char* mix = "none") {
  Workload workload(options, *ParseMix(mix));
  std::vector<PlannedRequest> requests;
  while (auto request = workload.Next()) requests.push_back(*request);
  return requests;
}

WorkloadOptions Generated(uint64_t requests) {
  return {.requests = requests,
          .rate = 50,
          .prompt = *LengthDistribution::Parse("10-90"),
          .output = *LengthDistribution::Parse("1-20")};
}

TEST(WorkloadTest, ArrivalsArePoisson) {
  const auto requests = Drain(Generated(20000));
  ASSERT_EQ(requests.size(), 20000u);
  EXPECT_NEAR(Seconds(requests.back().arrival), 400, 10);
  // In a Poisson process a gap exceeds its mean with probability 1/e.
  int long_gaps = 0;
  for (size_t i = 1; i < requests.size(); ++i) {
    ASSERT_GE(requests[i].arrival, requests[i - 1].arrival);
    long_gaps += Seconds(requests[i].arrival - requests[i - 1].arrival) > 0.02 ? 1 : 0;
  }
  EXPECT_NEAR(long_gaps / 20000.0, 0.368, 0.01);
}

TEST(WorkloadTest, TheMixChangesNothingElse) {
  WorkloadOptions options = Generated(500);
  const auto full = Drain(options, "none");
  const auto mixed = Drain(options, "none@50;attn:last=50%@150");
  options.prefix_fraction = 0.5;
  const auto prefixed = Drain(options, "none");
  int skipping = 0;
  for (size_t i = 0; i < full.size(); ++i) {
    EXPECT_EQ(full[i].arrival, mixed[i].arrival);
    EXPECT_EQ(full[i].prompt_tokens, mixed[i].prompt_tokens);
    EXPECT_EQ(full[i].output_tokens, prefixed[i].output_tokens);
    EXPECT_EQ(full[i].arrival, prefixed[i].arrival);
    skipping += mixed[i].part;
  }
  EXPECT_NEAR(skipping, 375, 35);
}

TEST(WorkloadTest, TheSeedChangesEverything) {
  WorkloadOptions options = Generated(100);
  const auto first = Drain(options);
  options.seed = 2;
  const auto second = Drain(options);
  EXPECT_EQ(Drain(options)[0].seed, second[0].seed);
  EXPECT_NE(first[0].arrival, second[0].arrival);
  EXPECT_NE(first[0].seed, second[0].seed);
  int equal = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    equal += first[i].prompt_tokens == second[i].prompt_tokens ? 1 : 0;
  }
  EXPECT_LT(equal, 20);
}

TEST(WorkloadTest, FitsTheContextByShorteningThePromptFirst) {
  constexpr int kMost = std::numeric_limits<int>::max();
  const WorkloadOptions options{.trace = {{Ms(0), 50, 10},
                                          {Ms(1), 95, 10},
                                          {Ms(2), 5, 300},
                                          {Ms(3), 0, 0},
                                          {Ms(4), kMost, kMost}},
                                .context = 100};
  Workload workload(options, *ParseMix("none"));
  std::vector<PlannedRequest> requests;
  while (auto request = workload.Next()) requests.push_back(*request);
  EXPECT_EQ(workload.shortened(), 3);
  const auto lengths = [&](int i) {
    return std::pair(requests[i].prompt_tokens, requests[i].output_tokens);
  };
  EXPECT_EQ(lengths(0), std::pair(50, 10));
  EXPECT_EQ(lengths(1), std::pair(90, 10));
  EXPECT_EQ(lengths(2), std::pair(1, 99));
  EXPECT_EQ(lengths(3), std::pair(1, 1));
  EXPECT_EQ(lengths(4), std::pair(1, 99));
}

TEST(WorkloadTest, ScalesTheTracesTimes) {
  WorkloadOptions options{.trace = {{Ms(0), 5, 1}, {Ms(1000), 5, 1}}, .time_scale = 0.25};
  EXPECT_EQ(Drain(options)[1].arrival, Ms(250));
  options.time_scale = 0;
  EXPECT_EQ(Drain(options)[1].arrival, Ms(0));
}

TEST(WorkloadTest, PromptsShareOnlyTheirCommonPrefix) {
  WorkloadOptions options = Generated(400);
  options.prefix_fraction = 0.5;
  options.prefixes = 2;
  options.prefix_tokens = 40;
  const auto requests = Drain(options);
  std::vector<const PlannedRequest*> first_of(2);
  int common = 0;
  for (const PlannedRequest& request : requests) {
    if (request.prefix < 0) {
      EXPECT_EQ(request.prefix_tokens, 0);
      continue;
    }
    ++common;
    EXPECT_EQ(request.prefix_tokens, std::min(40, request.prompt_tokens));
    const PlannedRequest*& other = first_of[request.prefix];
    if (!other) other = &request;
    const auto a = request.PromptTokens();
    const auto b = other->PromptTokens();
    const auto shared = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
    EXPECT_EQ(shared, &request == other ? request.prompt_tokens
                                        : std::min(request.prefix_tokens, other->prefix_tokens));
  }
  EXPECT_NEAR(common, 200, 30);
  EXPECT_NE(first_of[0]->PromptTokens()[0], first_of[1]->PromptTokens()[0]);
}

TEST(WorkloadTest, DurationEndsTheArrivals) {
  WorkloadOptions options = Generated(100'000);
  options.duration = std::chrono::seconds(10);
  const auto requests = Drain(options);
  EXPECT_NEAR(requests.size(), 500, 110);
  EXPECT_LT(requests.back().arrival, std::chrono::seconds(10));
}

TEST(WorkloadTest, ClosedLoopArrivesNow) {
  WorkloadOptions options = Generated(2);
  options.rate.reset();
  options.duration = std::chrono::seconds(5);
  Workload workload(options, *ParseMix("none"));
  EXPECT_FALSE(workload.open_loop());
  EXPECT_EQ(workload.Next(Ms(1250))->arrival, Ms(1250));
  EXPECT_FALSE(workload.Next(Ms(5000)).has_value());
  EXPECT_EQ(workload.Next(Ms(4900))->arrival, Ms(4900));
  EXPECT_FALSE(workload.Next(Ms(4950)).has_value());  // the third
}

TEST(WorkloadTest, ATraceIsCutByNumberAndDuration) {
  WorkloadOptions options{.trace = {{Ms(0), 5, 6}, {Ms(2000), 1, 1}, {Ms(10000), 7, 8}}};
  EXPECT_TRUE(Workload(options, *ParseMix("none")).open_loop());
  options.duration = Ms(3000);
  EXPECT_EQ(Drain(options).size(), 2);
  options.requests = 1;
  EXPECT_EQ(Drain(options).size(), 1);
}

TEST(WorkloadTest, ArrivalsAtHardlyAnyRateStayWithinTheClock) {
  WorkloadOptions options = Generated(2);
  options.rate = 1e-300;
  EXPECT_EQ(Drain(options)[1].arrival, std::chrono::seconds(1'000'000'000));
}

}  // namespace
}  // namespace skipstone
