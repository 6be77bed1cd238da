#include "tools/sim/options.h"

#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/tools/sim/sim_fixture.h"

namespace skipstone {
namespace {

absl::StatusOr<SimOptions> Parse(const std::vector<std::string>& arguments) {
  SimOptions options;
  FlagSet flags;
  options.AddTo(flags);
  if (const auto rest = flags.Parse(arguments); !rest.ok()) return rest.status();
  const absl::Status status = options.Resolve(ShapeOf("synthetic:llama-2-7b"));
  if (!status.ok()) return status;
  return options;
}

TEST(SimOptionsTest, TextsBecomeWhatASimulationTakes) {
  const auto options = Parse({"--kv_pages=100", "--itl_bound_ms=1.5", "--ttft_ms=250",
                              "--routing=round-robin", "--ceiling=attn:last=2", "--prompt=7"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->fleet.scheduler.num_pages, 100);
  EXPECT_EQ(options->fleet.scheduler.itl_bound, std::chrono::microseconds(1500));
  EXPECT_GT(options->fleet.scheduler.work.mlp_bytes, 0);
  EXPECT_EQ(options->fleet.routing, Routing::kRoundRobin);
  EXPECT_EQ(options->fleet.ceiling->ToString(), "attn:30-31");
  EXPECT_EQ(options->goodput.ttft_s, 0.25);
  EXPECT_EQ(options->goodput.itl_s, std::numeric_limits<double>::infinity());
  EXPECT_EQ(options->workload.context, 4096);
  EXPECT_EQ(options->workload.prefix_tokens, 256);
}

TEST(SimOptionsTest, RangesAreChecked) {
  for (const char* wrong :
       {"--replicas=4097", "--max_in_flight=3", "--itl_bound_ms=-1", "--page_tokens=0",
        "--prefixes=0", "--prefix_fraction=1.5", "--brownout_pages=-1", "--requests=-1",
        "--rate=-1", "--scale_to=-1", "--scale_target=0", "--time_scale=-1", "--ttft_ms=soon",
        "--kv_pages=0"}) {
    EXPECT_EQ(Parse({"--kv_pages=9", wrong}).status().code(), absl::StatusCode::kInvalidArgument)
        << wrong;
  }
}

}  // namespace
}  // namespace skipstone
