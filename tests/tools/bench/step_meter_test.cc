#include "tools/bench/step_meter.h"

#include <string>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tools/bench/fake_device.h"

namespace skipstone {
namespace {

using testing::ElementsAre;

constexpr ModelShape kShape{.num_layers = 1,
                            .hidden = 4,
                            .heads = 2,
                            .kv_heads = 1,
                            .head_dim = 2,
                            .ffn = 6,
                            .vocab = 10,
                            .max_context = 64};

// Records the order of its calls; a launch takes 2 ms of the host.
class OrderedRunner : public ModelRunner {
 public:
  explicit OrderedRunner(int in_flight) : in_flight_(in_flight) {}
  void Launch(const StepPlan& plan) override {
    calls.push_back(absl::StrFormat("launch %d", plan.id));
    const Time start = SystemClock().Now();
    while (Seconds(SystemClock().Now() - start) < 2e-3) {
    }
  }
  StepResults Collect() override {
    calls.push_back("collect");
    StepResults results;
    if (--collects_until_failure == 0) results.status = absl::InternalError("lost");
    return results;
  }
  int max_in_flight() const override { return in_flight_; }

  std::vector<std::string> calls;
  int collects_until_failure = 0;

 private:
  const int in_flight_;
};

class StepMeterTest : public testing::Test {
 protected:
  StepMeterTest() {
    for (int i = 0; i < 3; ++i) {
      StepPlan& plan = plans_.emplace_back();
      plan.id = i;
      plan.tokens = {1};
      plan.num_rows = 1;
      plan.chunks.push_back({.set = plan.SetOf(SkipSet(1)),
                             .first_position = 9 + i,
                             .num_rows = 1,
                             .logits_rows = 1,
                             .samples = true});
    }
  }

  std::vector<StepPlan> plans_;
  Phase phase_;
};

TEST_F(StepMeterTest, WhereTheHostComputesEachStepIsMeasuredAlone) {
  OrderedRunner runner(1);
  StepMeter meter(runner, nullptr, kShape, 16, {});
  ASSERT_TRUE(meter.MeasureEach(plans_, &phase_).ok());
  EXPECT_THAT(runner.calls,
              ElementsAre("launch 0", "collect", "launch 1", "collect", "launch 2", "collect"));
  ASSERT_EQ(phase_.samples.size(), 3u);
  EXPECT_EQ(phase_.stage_runs, 3);
  for (const Sample& sample : phase_.samples) {
    EXPECT_GE(sample.launch_seconds, 2e-3);
    EXPECT_GE(sample.seconds, sample.launch_seconds);
    EXPECT_EQ(sample.floor_seconds, 0) << "no ceilings";
  }
}

TEST_F(StepMeterTest, WhereStepsOverlapTheFirstRunsTwiceAndCountsOnce) {
  OrderedRunner runner(2);
  StepMeter meter(runner, nullptr, kShape, 16, {});
  const Time start = SystemClock().Now();
  ASSERT_TRUE(meter.MeasureEach(plans_, &phase_).ok());
  double unmeasured = Seconds(SystemClock().Now() - start);
  EXPECT_THAT(runner.calls, ElementsAre("launch 0", "launch 0", "collect", "launch 1", "collect",
                                        "launch 2", "collect", "collect"));
  ASSERT_EQ(phase_.samples.size(), 3u);
  EXPECT_EQ(phase_.stage_runs, 4);
  for (const Sample& sample : phase_.samples) {
    EXPECT_GE(sample.launch_seconds, 2e-3);
    unmeasured -= sample.seconds;
  }
  // Both launches of step 0 lie before the first result, so in no sample.
  EXPECT_GE(unmeasured, 4e-3);
}

TEST_F(StepMeterTest, APrefillIsOneSampleOfAllItsSteps) {
  OrderedRunner runner(2);
  StepMeter meter(runner, nullptr, kShape, 16, {});
  meter.set_ceilings({.bytes_per_s = 1e3, .flops_per_s = 1e3});
  ASSERT_TRUE(meter.MeasureAll(plans_, &phase_).ok());
  ASSERT_EQ(phase_.samples.size(), 1u);
  const Sample& sample = phase_.samples[0];
  EXPECT_GE(sample.launch_seconds, 6e-3);
  EXPECT_GE(sample.seconds, sample.launch_seconds);
  EXPECT_EQ(phase_.stage_runs, 1);
  double bytes = 0, flops = 0, floor = 0;
  for (const StageSum& stage : phase_.stages) {
    bytes += stage.bytes;
    flops += stage.flops;
    floor += stage.floor_seconds;
  }
  EXPECT_EQ(sample.cost.bytes(), bytes);
  EXPECT_EQ(sample.cost.flops, flops);
  EXPECT_NEAR(sample.floor_seconds, floor, 1e-9);
  // Per step: 3 rows' worth of one-row products, and 10, 11, 12 positions attended to.
  const double attended = 4.0 * (10 + 11 + 12) * 4;
  EXPECT_EQ(phase_.stages[static_cast<int>(Stage::kAttend)].flops, attended);
  EXPECT_EQ(phase_.stages[static_cast<int>(Stage::kLogits)].bytes, 3 * 4 * 10 * 2);
}

TEST_F(StepMeterTest, ADeviceThatIsLostEndsTheMeasurement) {
  OrderedRunner runner(2);
  runner.collects_until_failure = 2;
  StepMeter meter(runner, nullptr, kShape, 16, {});
  EXPECT_EQ(meter.MeasureEach(plans_, &phase_).code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(phase_.samples.empty());
}

TEST_F(StepMeterTest, LapsBeforeAMeasurementAreDropped) {
  TimedBackend timed(std::make_unique<FakeDevice>());
  OrderedRunner runner(2);
  timed.Run([&] { timed.Attend(0); });
  StepMeter meter(runner, &timed, kShape, 16, {});
  ASSERT_TRUE(meter.MeasureEach(plans_, &phase_).ok());
  EXPECT_EQ(phase_.stages[static_cast<int>(Stage::kAttend)].seconds, 0);
}

}  // namespace
}  // namespace skipstone
