#include "tools/sim/machine_profile.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/test_data.h"
#include "tools/bench/bench_result.h"

namespace skipstone {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(const std::string& json) {
  return std::string(ParseMachineProfile(json).status().message());
}

TEST(MachineProfileTest, TakesTheBenchmarksJson) {
  BenchResult result{.backend = "cpu", .ceilings = {{20e9, 100e9}}};
  ArmResult arm{.skip = "none"};
  const Sample decode{.seconds = 0.1, .floor_seconds = 0.09, .ceilings = {20e9, 100e9}};
  const Sample prefill{.seconds = 0.4, .floor_seconds = 0.3, .ceilings = {20e9, 100e9}};
  arm.decode.samples = {decode};
  arm.prefill.samples = {prefill};
  result.arms = {arm};
  const auto profile = ParseMachineProfile(ToJson(result));
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_NEAR(profile->reached.bytes_per_s, 18e9, 1);
  EXPECT_NEAR(profile->reached.flops_per_s, 75e9, 1);
  EXPECT_EQ(profile->bytes.weights, 2);
  EXPECT_EQ(profile->bytes.kv, 4);
  EXPECT_EQ(profile->step_overhead_s, 0);
}

TEST(MachineProfileTest, TheAssumedH200IsReadable) {
  const auto profile =
      ParseMachineProfile(ReadTestFile(SourcePath("tools/sim/profiles/h200.json")));
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_NEAR(profile->reached.bytes_per_s, 0.85 * 4.8e12, 1);
  EXPECT_NEAR(profile->reached.flops_per_s, 0.6 * 989e12, 1);
  EXPECT_EQ(profile->bytes.kv, 2);
  EXPECT_NEAR(profile->step_overhead_s, 1e-4, 1e-12);
}

TEST(MachineProfileTest, ErrorsNameTheKey) {
  const std::string good =
      R"("read_bandwidth_bytes_per_s": 1e9, "peak_flops_per_s": 1e9, "decode_floor_fraction": 0.9)";
  EXPECT_THAT(ErrorOf("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(ErrorOf("{"), HasSubstr("not a JSON object"));
  EXPECT_THAT(ErrorOf("{" + good + "}"), HasSubstr("\"prefill_floor_fraction\" must be a number"));
  EXPECT_THAT(ErrorOf("{" + good + R"(, "prefill_floor_fraction": 60})"), HasSubstr("is 60"));
  EXPECT_THAT(ErrorOf("{" + good + R"(, "prefill_floor_fraction": 0.6, "kv_element_bytes": 0.5})"),
              HasSubstr("\"kv_element_bytes\" must be an integer"));
  EXPECT_THAT(ErrorOf("{" + good + R"(, "prefill_floor_fraction": 0.6, "step_overhead_ms": -1})"),
              HasSubstr("\"step_overhead_ms\""));
}

}  // namespace
}  // namespace skipstone
