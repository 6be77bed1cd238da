#include "tools/bench/timed_backend.h"

#include <algorithm>
#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tools/bench/fake_device.h"

namespace skipstone {
namespace {

using testing::ElementsAre;

double Of(const StageSeconds& seconds, Stage stage) { return seconds[static_cast<int>(stage)]; }

class SlowAttention : public RecordingBackend {
 public:
  void Attend(int) override {
    const Time start = SystemClock().Now();
    while (Seconds(SystemClock().Now() - start) < 2e-3) {
    }
  }
};

void OneLayer(Backend& backend) {
  backend.Embed({});
  backend.QkvStore(0, {}, {});
  backend.Attend(0);
  backend.ProjectAdd(0, Sublayer::kAttention, {});
  backend.GateUp(0, {}, {});
  backend.ProjectAdd(0, Sublayer::kMlp, {});
  backend.Logits({}, {});
}

TEST(TimedBackendTest, WithoutAProbeTheHostsClockCounts) {
  TimedBackend timed(std::make_unique<SlowAttention>());
  timed.Run([&] { OneLayer(timed); });
  const auto seconds = timed.Take();
  ASSERT_TRUE(seconds.ok()) << seconds.status();
  EXPECT_GE(Of(*seconds, Stage::kAttend), 2e-3);
  EXPECT_EQ(*timed.Take(), StageSeconds{}) << "a call takes what it returns";
}

class ProbedTest : public testing::Test {
 protected:
  FakeDevice* const device_ = new FakeDevice;
  TimedBackend timed_{std::unique_ptr<Backend>(device_)};
};

TEST_F(ProbedTest, EachStageGetsTheLapThatItEnds) {
  timed_.Run([&] { OneLayer(timed_); });
  const auto seconds = timed_.Take();
  ASSERT_TRUE(seconds.ok()) << seconds.status();
  EXPECT_THAT(*seconds, ElementsAre(1, 2, 4, 8, 16, 32, 64));
  EXPECT_EQ(*timed_.Take(), StageSeconds{});
}

// Lap 2 lies between the steps: the results of one, the upload of the other.
TEST_F(ProbedTest, WhatLiesBetweenStepsCountsForNoStage) {
  timed_.Run([&] {
    timed_.Embed({});
    timed_.Attend(0);
  });
  timed_.Run([&] {
    timed_.Embed({});
    timed_.Attend(0);
  });
  const auto seconds = timed_.Take();
  ASSERT_TRUE(seconds.ok()) << seconds.status();
  EXPECT_EQ(Of(*seconds, Stage::kEmbed), 1 + 8);
  EXPECT_EQ(Of(*seconds, Stage::kAttend), 2 + 16);
}

TEST_F(ProbedTest, EveryStepIsLaunchedStageByStage) {
  for (int step = 0; step < 3; ++step) timed_.Run([&] { OneLayer(timed_); });
  EXPECT_EQ(device_->replayable_runs, 0);
  EXPECT_EQ(std::count(device_->stages.begin(), device_->stages.end(), "attend 0"), 3);
  EXPECT_EQ(std::count(device_->stages.begin(), device_->stages.end(), "mark"), 3 * (5 * 1 + 3));
}

TEST_F(ProbedTest, ErrorsOfTheProbeAreReturned) {
  EXPECT_TRUE(timed_.Take().ok());
  EXPECT_EQ(device_->laps_taken, 0) << "there is nothing to wait for";
  device_->laps_status = absl::InternalError("lost");
  timed_.Run([&] { OneLayer(timed_); });
  EXPECT_EQ(timed_.Take().status().message(), "lost");
  device_->laps_status = absl::OkStatus();
  device_->missing_laps = 1;
  timed_.Run([&] { OneLayer(timed_); });
  EXPECT_EQ(timed_.Take().status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace skipstone
