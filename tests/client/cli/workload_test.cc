#include "client/cli/workload.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::client {
namespace {

using testing::HasSubstr;

std::vector<MixPart> Mix(const std::string& text = "") { return *ParseMix(text); }

WorkloadOptions Options() {
  return {.prompt_tokens = {8, 8}, .output_tokens = {4, 4}, .max_context_tokens = 1000, .seed = 1};
}

// All requests of an open loop.
std::vector<PlannedRequest> All(Workload& workload) {
  std::vector<PlannedRequest> requests;
  while (auto request = workload.Next(0)) requests.push_back(*request);
  return requests;
}

TEST(WorkloadTest, TokenRanges) {
  const auto one = ParseTokenRange("prompt_tokens", "128");
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(one->min, 128);
  EXPECT_EQ(one->max, 128);
  const auto range = ParseTokenRange("prompt_tokens", "64-256");
  ASSERT_TRUE(range.ok());
  EXPECT_EQ(range->min, 64);
  EXPECT_EQ(range->max, 256);
  for (const char* text : {"", "0", "-5", "5-", "6-5", "1-2-3", "x", "4294967296"}) {
    const auto bad = ParseTokenRange("prompt_tokens", text);
    EXPECT_EQ(bad.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(bad.status().message()),
                HasSubstr("--prompt_tokens: \"" + std::string(text) + "\""));
  }
}

TEST(WorkloadTest, PoissonArrivalsHaveTheRate) {
  WorkloadOptions options = Options();
  options.rate = 50;
  options.max_requests = 20'000;
  Workload workload(options, Mix());
  EXPECT_TRUE(workload.open_loop());
  const std::vector<PlannedRequest> requests = All(workload);
  ASSERT_EQ(requests.size(), 20'000);
  double sum = 0;
  double sum_squares = 0;
  double last = 0;
  for (const PlannedRequest& request : requests) {
    const double gap = request.arrival_s - last;
    ASSERT_GE(gap, 0);
    sum += gap;
    sum_squares += gap * gap;
    last = request.arrival_s;
  }
  const double mean = sum / requests.size();
  EXPECT_NEAR(mean, 0.02, 0.02 * 0.035);  // five standard deviations of the mean
  // Exponential gaps: the standard deviation is the mean.
  const double deviation = std::sqrt(sum_squares / requests.size() - mean * mean);
  EXPECT_NEAR(deviation / mean, 1, 0.05);
}

TEST(WorkloadTest, DurationEndsTheArrivals) {
  WorkloadOptions options = Options();
  options.rate = 100;
  options.max_seconds = 10;
  Workload workload(options, Mix());
  const std::vector<PlannedRequest> requests = All(workload);
  EXPECT_NEAR(requests.size(), 1000, 160);
  EXPECT_LT(requests.back().arrival_s, 10);
}

TEST(WorkloadTest, ClosedLoopArrivesNow) {
  WorkloadOptions options = Options();
  options.max_requests = 2;
  options.max_seconds = 5;
  Workload workload(options, Mix());
  EXPECT_FALSE(workload.open_loop());
  EXPECT_EQ(workload.Next(1.25)->arrival_s, 1.25);
  EXPECT_FALSE(workload.Next(5).has_value());
  EXPECT_EQ(workload.Next(4.9)->arrival_s, 4.9);
  EXPECT_FALSE(workload.Next(4.95).has_value());  // the third
}

TEST(WorkloadTest, LengthsAreDrawnFromTheRanges) {
  WorkloadOptions options = Options();
  options.prompt_tokens = {3, 5};
  options.output_tokens = {7, 7};
  options.max_requests = 300;
  options.rate = 1;
  Workload workload(options, Mix("a@3;b@1"));
  std::vector<int> lengths(6);
  std::vector<int> parts(2);
  for (const PlannedRequest& request : All(workload)) {
    ++lengths.at(request.prompt_tokens);
    ++parts.at(request.part);
    EXPECT_EQ(request.output_tokens, 7);
  }
  for (int length = 3; length <= 5; ++length) EXPECT_NEAR(lengths[length], 100, 45);
  EXPECT_NEAR(parts[0], 225, 40);
}

TEST(WorkloadTest, OneSeedMakesOneWorkload) {
  WorkloadOptions options = Options();
  options.prompt_tokens = {1, 100};
  options.rate = 5;
  options.max_requests = 50;
  const auto fingerprint = [&] {
    Workload workload(options, Mix("a;b"));
    std::vector<double> all;
    for (const PlannedRequest& r : All(workload)) {
      all.insert(all.end(), {r.arrival_s, static_cast<double>(r.prompt_tokens),
                             static_cast<double>(r.part), static_cast<double>(r.seed)});
    }
    return all;
  };
  const std::vector<double> first = fingerprint();
  EXPECT_EQ(fingerprint(), first);
  options.seed = 2;
  EXPECT_NE(fingerprint(), first);
}

TEST(WorkloadTest, TraceIsReplayedAtItsScale) {
  WorkloadOptions options = Options();
  options.trace = {{0, 5, 6}, {2, 0, 0}, {10, 7, 8}};
  options.time_scale = 0.5;
  Workload workload(options, Mix());
  EXPECT_TRUE(workload.open_loop());
  const std::vector<PlannedRequest> requests = All(workload);
  ASSERT_EQ(requests.size(), 3);
  EXPECT_EQ(requests[0].prompt_tokens, 5);
  EXPECT_EQ(requests[1].arrival_s, 1);
  EXPECT_EQ(requests[1].prompt_tokens, 1);
  EXPECT_EQ(requests[1].output_tokens, 1);
  EXPECT_EQ(requests[2].arrival_s, 5);
  EXPECT_EQ(requests[2].output_tokens, 8);

  options.max_seconds = 1.5;
  Workload shorter(options, Mix());
  EXPECT_EQ(All(shorter).size(), 2);
  options.max_requests = 1;
  Workload one(options, Mix());
  EXPECT_EQ(All(one).size(), 1);
}

TEST(WorkloadTest, RequestsAreShortenedToTheContextOutputLast) {
  constexpr uint32_t kMost = std::numeric_limits<uint32_t>::max();
  WorkloadOptions options = Options();
  options.max_context_tokens = 100;
  options.trace = {{0, 60, 40}, {0, 61, 40}, {0, 5, 200}, {0, kMost, 64}, {0, kMost, kMost}};
  Workload workload(options, Mix());
  const std::vector<PlannedRequest> requests = All(workload);
  ASSERT_EQ(requests.size(), 5);
  const std::vector<std::pair<uint32_t, uint32_t>> want = {
      {60, 40}, {60, 40}, {1, 99}, {36, 64}, {1, 99}};
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(requests[i].prompt_tokens, want[i].first) << i;
    EXPECT_EQ(requests[i].output_tokens, want[i].second) << i;
  }
  EXPECT_EQ(workload.shortened(), 4);
}

}  // namespace
}  // namespace skipstone::client
