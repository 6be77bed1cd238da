#include "tools/sim/workload.h"

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tools/sim/sim_fixture.h"

namespace skipstone {
namespace {

using ::testing::HasSubstr;

std::vector<SimRequest> Drain(const WorkloadOptions& options, const char* levels = "none") {
  Workload workload(options, Levels(levels));
  std::vector<SimRequest> requests;
  while (auto request = workload.Next()) requests.push_back(*request);
  return requests;
}

WorkloadOptions Generated(int64_t requests) {
  return {.requests = requests,
          .rate = 50,
          .prompt = *LengthDistribution::Parse("10-90"),
          .output = *LengthDistribution::Parse("1-20")};
}

TEST(WorkloadTest, ArrivalsArePoisson) {
  const auto requests = Drain(Generated(20000));
  ASSERT_EQ(requests.size(), 20000u);
  EXPECT_NEAR(Seconds(requests.back().arrival.time_since_epoch()), 400, 10);
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
    skipping += mixed[i].level;
  }
  EXPECT_NEAR(skipping, 375, 35);
}

TEST(WorkloadTest, TheSeedChangesEverything) {
  WorkloadOptions options = Generated(100);
  const auto first = Drain(options);
  options.seed = 2;
  const auto second = Drain(options);
  EXPECT_NE(first[0].arrival, second[0].arrival);
  EXPECT_NE(first[0].seed, second[0].seed);
  int equal = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    equal += first[i].prompt_tokens == second[i].prompt_tokens ? 1 : 0;
  }
  EXPECT_LT(equal, 20);
}

TEST(WorkloadTest, FitsTheContextByShorteningThePromptFirst) {
  const WorkloadOptions options{
      .trace = {Row(0, 50, 10), Row(1, 95, 10), Row(2, 5, 300), Row(3, 0, 0)}, .context = 100};
  const auto requests = Drain(options);
  const auto lengths = [&](int i) {
    return std::pair(requests[i].prompt_tokens, requests[i].output_tokens);
  };
  EXPECT_EQ(lengths(0), std::pair(50, 10));
  EXPECT_EQ(lengths(1), std::pair(90, 10));
  EXPECT_EQ(lengths(2), std::pair(1, 99));
  EXPECT_EQ(lengths(3), std::pair(1, 1));
}

TEST(WorkloadTest, ScalesTheTracesTimes) {
  WorkloadOptions options{.trace = {Row(0, 5, 1), Row(1000, 5, 1)}, .time_scale = 0.25};
  EXPECT_EQ(Drain(options)[1].arrival, AtMs(250));
  options.time_scale = 0;
  EXPECT_EQ(Drain(options)[1].arrival, AtMs(0));
}

TEST(WorkloadTest, PromptsShareOnlyTheirCommonPrefix) {
  WorkloadOptions options = Generated(400);
  options.prefix_fraction = 0.5;
  options.prefixes = 2;
  options.prefix_tokens = 40;
  const auto requests = Drain(options);
  std::vector<const SimRequest*> first_of(2);
  int common = 0;
  for (const SimRequest& request : requests) {
    if (request.prefix < 0) {
      EXPECT_EQ(request.prefix_tokens, 0);
      continue;
    }
    ++common;
    EXPECT_EQ(request.prefix_tokens, std::min(40, request.prompt_tokens));
    const SimRequest*& other = first_of[request.prefix];
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

TEST(WorkloadTest, LevelsNameTheWrongPart) {
  const auto levels = ParseLevels("none; attn:last=2 @3", kSimLayers);
  ASSERT_TRUE(levels.ok()) << levels.status();
  EXPECT_EQ((*levels)[1].name, "attn:last=2");
  EXPECT_EQ((*levels)[1].weight, 3);
  EXPECT_EQ((*levels)[1].skip.SkippedAttention(), 2);
  for (const char* text : {"none@0", "none@x", "none@", "none@inf"}) {
    EXPECT_THAT(std::string(ParseLevels(text, kSimLayers).status().message()), HasSubstr(text));
  }
  EXPECT_FALSE(ParseLevels("none;attn:9", kSimLayers).ok());
  EXPECT_FALSE(ParseLevels("", kSimLayers).ok());
}

}  // namespace
}  // namespace skipstone
