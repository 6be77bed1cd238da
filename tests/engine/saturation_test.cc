// The number that a fleet scales by.
#include "engine/saturation.h"

#include "gtest/gtest.h"

namespace skipstone {
namespace {

using std::chrono::milliseconds;

EngineOptions Options() {
  EngineOptions options;
  options.limits.max_queue = 100;
  options.limits.max_queue_tokens = 1000;
  options.scheduler.max_sequences = 10;
  return options;
}

TEST(SaturationTest, IsOfTheFullest) {
  EXPECT_EQ(Saturation({}, Options(), {}), 0);
  EXPECT_EQ(Saturation({.waiting = 25}, Options(), {}), 0.25);
  EXPECT_EQ(Saturation({.waiting_tokens = 500}, Options(), {}), 0.5);
  EXPECT_EQ(Saturation({.running = 7}, Options(), {}), 0.7);
  EXPECT_EQ(Saturation({.pages = {.total = 50, .used = 40, .cached = 10}}, Options(), {}), 0.8)
      << "what is only cached is free";
  EXPECT_EQ(
      Saturation({.running = 2, .waiting = 30, .pages = {.total = 10, .used = 1}}, Options(), {}),
      0.3);
}

TEST(SaturationTest, IsAtMostOne) {
  EXPECT_EQ(Saturation({.running = 11, .waiting = 101}, Options(), {}), 1);
}

TEST(SaturationTest, AStepsTimeCountsWhereATargetIsSet) {
  EXPECT_EQ(Saturation({}, Options(), milliseconds(40)), 0);
  EngineOptions options = Options();
  options.itl_target = milliseconds(50);
  EXPECT_EQ(Saturation({}, options, milliseconds(40)), 0.8);
  EXPECT_EQ(Saturation({}, options, milliseconds(60)), 1);
}

TEST(DecodeStepTimeTest, FollowsTheLastSteps) {
  DecodeStepTime time;
  EXPECT_EQ(time.mean(), Duration::zero());
  time.Observe(milliseconds(10));
  EXPECT_EQ(time.mean(), milliseconds(10)) << "the first counts at once";
  for (int i = 0; i < 50; ++i) time.Observe(milliseconds(30));
  EXPECT_GT(time.mean(), milliseconds(29));
  time.Reset();
  EXPECT_EQ(time.mean(), Duration::zero());
}

}  // namespace
}  // namespace skipstone
