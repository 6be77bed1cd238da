#include "tools/bench/bench_result.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr Ceilings kCeilings{.bytes_per_s = 1e9, .flops_per_s = 1e10};

Sample SampleOf(double seconds, double floor_seconds) {
  return {.seconds = seconds,
          .launch_seconds = seconds / 10,
          .cost = {.weight_bytes = 4e6, .kv_bytes = 1e6, .flops = 2e7},
          .floor_seconds = floor_seconds,
          .ceilings = kCeilings};
}

Phase PhaseOf(std::vector<Sample> samples) {
  Phase phase{.samples = std::move(samples)};
  phase.stage_runs = 4;
  phase.stages[static_cast<int>(Stage::kAttend)] = {
      .seconds = 0.040, .floor_seconds = 0.020, .bytes = 2e7, .flops = 4e6};
  phase.stages[static_cast<int>(Stage::kDown)] = {
      .seconds = 0.080, .floor_seconds = 0.020, .bytes = 4e6, .flops = 2e8};
  return phase;
}

// The second arm decodes in half the time; the mixed one lies between them.
BenchResult Result() {
  BenchResult result{.backend = "cuda", .threads = 2, .flops_kind = "bf16 products"};
  result.options.batch = 4;
  result.options.prompt = 100;
  result.ceilings = {kCeilings};
  ArmResult none{.skip = "none", .kv_pages_used = 8};
  none.decode = PhaseOf({SampleOf(0.010, 0.005), SampleOf(0.020, 0.005), SampleOf(0.012, 0.005)});
  none.prefill = PhaseOf({SampleOf(0.050, 0.040)});
  ArmResult half{.skip = "attn:2-3", .kv_pages_used = 4};
  half.decode = PhaseOf({SampleOf(0.005, 0.004), SampleOf(0.010, 0.004), SampleOf(0.006, 0.004)});
  half.prefill = PhaseOf({SampleOf(0.025, 0.020)});
  ArmResult mixed{.skip = "mixed", .mixed = true, .kv_pages_used = 6};
  mixed.decode = PhaseOf({SampleOf(0.010, 0.0045)});
  result.arms = {none, half, mixed};
  return result;
}

TEST(BenchResultTest, MediansOfOddEvenAndEmpty) {
  EXPECT_EQ(Median({}), 0);
  EXPECT_EQ(Median({3, 1, 2}), 2);
  EXPECT_EQ(Median({4, 1, 3, 2}), 2.5);
}

TEST(BenchResultTest, SpeedUpsAreOfNeighbours) {
  const BenchResult result = Result();
  EXPECT_DOUBLE_EQ(MedianRatio(result.arms[0].decode, result.arms[1].decode, &Sample::seconds), 2);
  EXPECT_DOUBLE_EQ(
      MedianRatio(result.arms[0].decode, result.arms[1].decode, &Sample::floor_seconds), 1.25);
}

TEST(BenchResultTest, TheKeysOfTheContractStayWhereTheyAre) {
  const json j = json::parse(ToJson(Result()));
  for (const json* arm : {&j, &j["skips"][0]}) {
    EXPECT_DOUBLE_EQ((*arm)["decode_ms_per_token"], 12);
    EXPECT_DOUBLE_EQ((*arm)["decode_tokens_per_s"], 4 / 0.012);
    EXPECT_DOUBLE_EQ((*arm)["prefill_tokens_per_s"], 100 / 0.050);
    EXPECT_DOUBLE_EQ((*arm)["bytes_per_token"], 5e6 / 4);
    EXPECT_NEAR((*arm)["bandwidth_fraction"], 5e6 / 0.012 / 1e9, 1e-12);
    EXPECT_NEAR((*arm)["flops_fraction"], 2e7 / 0.050 / 1e10, 1e-12);
    EXPECT_EQ((*arm)["kv_pages_used"], 8);
  }
  EXPECT_EQ(j["skips"][1]["skip"], "attn:2-3");
}

TEST(BenchResultTest, TheHostsTimeIsGivenForBothPhases) {
  const json j = json::parse(ToJson(Result()));
  EXPECT_DOUBLE_EQ(j["decode_launch_ms"], 1.2);
  EXPECT_DOUBLE_EQ(j["prefill_launch_ms"], 5);
  EXPECT_THAT(ToTable(Result()), HasSubstr("launch 1.200 ms"));
}

TEST(BenchResultTest, AMixedArmStandsBesideTheMeanOfTheOthers) {
  const json j = json::parse(ToJson(Result()));
  const json& mixed = j["skips"][2];
  EXPECT_EQ(mixed["skip"], "mixed");
  EXPECT_DOUBLE_EQ(mixed["decode_floor_fraction"], 0.45);
  const double none = 0.005 / 0.012, half = 0.004 / 0.006;
  EXPECT_DOUBLE_EQ(mixed["decode_homogeneous_floor_fraction"], (none + half) / 2);
  EXPECT_FALSE(mixed.contains("prefill_ms"));
  EXPECT_FALSE(j["skips"][1].contains("decode_homogeneous_floor_fraction"));
}

TEST(BenchResultTest, StagesAreMeansOfAStep) {
  BenchResult result = Result();
  EXPECT_FALSE(json::parse(ToJson(result)).contains("decode_stages"));
  result.options.stages = true;
  const json stages = json::parse(ToJson(result))["decode_stages"];
  EXPECT_EQ(stages.size(), static_cast<size_t>(kNumStages));
  EXPECT_DOUBLE_EQ(stages["attend"]["ms"], 10);
  EXPECT_DOUBLE_EQ(stages["attend"]["floor_ms"], 5);
  EXPECT_DOUBLE_EQ(stages["attend"]["bytes"], 5e6);
  EXPECT_DOUBLE_EQ(stages["attend"]["flops"], 1e6);
  // 0.5 GB/s of 1, 2.5 GFLOP/s of 10: each by what bounds it.
  EXPECT_THAT(ToTable(result), HasSubstr("0.5 GB/s,  50.0% of bandwidth"));
  EXPECT_THAT(ToTable(result), HasSubstr("2.5 GFLOP/s,  25.0% of peak"));
}

TEST(BenchResultTest, TheTableSaysWhatTheCeilingsAre) {
  BenchResult result = Result();
  EXPECT_THAT(ToTable(result), HasSubstr("read 1.0 GB/s, 10.0 GFLOP/s (bf16 products)"));
  EXPECT_EQ(json::parse(ToJson(result))["peak_flops_kind"], "bf16 products");
  result.ceilings.clear();
  EXPECT_THAT(ToTable(result), HasSubstr("no measured ceilings"));
  EXPECT_EQ(json::parse(ToJson(result))["read_bandwidth_bytes_per_s"], 0);
  EXPECT_THAT(ToJson(result), Not(HasSubstr("null")));
}

}  // namespace
}  // namespace skipstone
