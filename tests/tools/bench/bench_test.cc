#include "tools/bench/bench.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tools/bench/fake_device.h"

namespace skipstone {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST(BenchTest, TheWholeRunOnTheCpu) {
  const auto result = RunBench(
      {.model = "synthetic:layers=4,hidden=64,heads=2,kv_heads=1,ffn=96,vocab=128,context=128",
       .backend = "cpu",
       .threads = 2,
       .batch = 3,
       .context = 60,
       .prompt = 64,
       .steps = 3,
       .rounds = 1,
       .chunk = 8,
       .skip = "none;attn:last=2;win:last=2/16",
       .stages = true,
       .mixed = true});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->flops_kind, "f32 multiply-add");
  ASSERT_EQ(result->ceilings.size(), 1u);
  EXPECT_GT(result->ceilings[0].flops_per_s, 0);
  ASSERT_EQ(result->arms.size(), 4u);
  for (const ArmResult& arm : result->arms) {
    SCOPED_TRACE(arm.skip);
    EXPECT_EQ(arm.decode.samples.size(), 3u);
    EXPECT_EQ(arm.decode.stage_runs, 3);
    EXPECT_EQ(arm.prefill.samples.size(), arm.mixed ? 0u : 1u);
    EXPECT_GT(MedianOf(arm.decode, &Sample::floor_seconds), 0);
    double sum = 0, measured = 0;
    for (const StageSum& stage : arm.decode.stages) sum += stage.seconds;
    for (const Sample& sample : arm.decode.samples) measured += sample.seconds;
    EXPECT_GT(sum, 0);
    EXPECT_LE(sum, measured);
  }
  // Four blocks of 16 tokens; a window of 16 behind 63 positions holds the sink's and two.
  const int none = 4 * 4, skipped = 2 * 4, windowed = 2 * 4 + 2 * 2;
  EXPECT_EQ(result->arms[0].kv_pages_used, 3 * none);
  EXPECT_EQ(result->arms[1].kv_pages_used, 3 * skipped);
  EXPECT_EQ(result->arms[2].kv_pages_used, 3 * windowed);
  EXPECT_EQ(result->arms[3].kv_pages_used, none + skipped + windowed);
  const auto floors_to = [&](int arm, Phase ArmResult::*phase) {
    return MedianRatio(result->arms[0].*phase, result->arms[arm].*phase, &Sample::floor_seconds);
  };
  EXPECT_GT(floors_to(1, &ArmResult::decode), floors_to(2, &ArmResult::decode));
  EXPECT_GT(floors_to(2, &ArmResult::decode), 1);
  EXPECT_GT(floors_to(2, &ArmResult::prefill), 1);
}

class DeviceBenchTest : public testing::Test {
 protected:
  absl::StatusOr<BenchResult> Run() {
    return RunBench(options_, ModelOn(std::unique_ptr<FakeDevice>(device_)));
  }

  BenchOptions options_{.batch = 2,
                        .context = 5,
                        .prompt = 6,
                        .steps = 10,
                        .rounds = 2,
                        .chunk = 4,
                        .page_tokens = 4,
                        .skip = "none;attn:last=1"};
  FakeDevice* const device_ = new FakeDevice;  // owned by the model that Run makes of it
};

TEST_F(DeviceBenchTest, CeilingsAreTheProbes) {
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->ceilings.size(), 2u) << "one a round";
  const json j = json::parse(ToJson(*result));
  EXPECT_EQ(j["read_bandwidth_bytes_per_s"], 1e12);
  EXPECT_EQ(j["peak_flops_per_s"], 1e14);
  EXPECT_EQ(j["peak_flops_kind"], "bf16 products");
  EXPECT_GT(j["decode_floor_ms"], 0);
  EXPECT_GT(j["prefill_floor_ms"], 0);
}

TEST_F(DeviceBenchTest, EveryArmGetsItsSamplesWhereStepsOverlap) {
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  for (const ArmResult& arm : result->arms) {
    EXPECT_EQ(arm.decode.samples.size(), 2u * 10);
    EXPECT_EQ(arm.decode.stage_runs, 2 * (10 + 2)) << "a step more in each of two blocks";
    // Every round runs the same positions.
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(arm.decode.samples[i].cost.kv_bytes, arm.decode.samples[10 + i].cost.kv_bytes);
      if (i == 0) continue;
      EXPECT_GT(arm.decode.samples[i].cost.kv_bytes, arm.decode.samples[i - 1].cost.kv_bytes);
    }
  }
}

TEST_F(DeviceBenchTest, StagesAreTimedByMarks) {
  options_.stages = true;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  const Phase& decode = result->arms[0].decode;
  // The first lap of a block is an embedding, of 1 s; laps double, so later ones are longer.
  EXPECT_GT(decode.stages[static_cast<int>(Stage::kEmbed)].seconds, 1);
  EXPECT_GT(decode.stages[static_cast<int>(Stage::kLogits)].seconds,
            decode.stages[static_cast<int>(Stage::kEmbed)].seconds);
}

TEST_F(DeviceBenchTest, AnErrorOfTheProbeEndsTheBench) {
  device_->ceilings = absl::ResourceExhaustedError("no memory for ceilings");
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(DeviceBenchTest, ALapThatIsLostEndsTheBench) {
  options_.stages = true;
  device_->laps_status = absl::InternalError("lost");
  EXPECT_EQ(Run().status().message(), "lost");
}

TEST_F(DeviceBenchTest, WithoutAProbeThereAreTimesButNoFloors) {
  device_->has_probe = false;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->ceilings.empty());
  const json j = json::parse(ToJson(*result));
  EXPECT_GT(j["decode_ms_per_token"], 0);
  EXPECT_EQ(j["decode_floor_fraction"], 0);
  EXPECT_EQ(j["bandwidth_fraction"], 0);
}

TEST_F(DeviceBenchTest, WithoutAProbeStagesAreRefused) {
  device_->has_probe = false;
  options_.stages = true;
  const absl::Status status = Run().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("'fake'"));
}

TEST_F(DeviceBenchTest, MoreTokensThanTheContextAreRefused) {
  options_.context = 60;
  const absl::Status status = Run().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("context 60 + steps 10"));
}

}  // namespace
}  // namespace skipstone
