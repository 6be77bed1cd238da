// Many concurrent requests with different skip sets get, to the bit, what each gets alone.
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/integration/request_batch.h"
#include "tests/support/server_process.h"

namespace skipstone {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr int kRequests = 16;  // each takes ten times as long
#else
constexpr int kRequests = 64;
#endif
constexpr int kDemoVocab = 2048;

const std::vector<std::string>& Specs() {
  static const std::vector<std::string> specs = {"none",
                                                 "attn:last=25%",
                                                 "attn:last=50%",
                                                 "attn:last=6,keep-final",
                                                 "attn:1,11+mlp:2",
                                                 "mlp:last=2",
                                                 "block:last=3",
                                                 "attn:0-11",
                                                 "win:last=50%/16",
                                                 "attn:11+win:2/24,6-9/16"};
  return specs;
}

std::vector<int> RandomDelays(int count, int most_ms, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int> delays;
  for (int i = 0; i < count; ++i) delays.push_back(random() % most_ms);
  return delays;
}

// What each request gets when nothing else runs, from a server with the default settings.
const std::vector<std::string>& Alone() {
  static const std::vector<std::string> alone = [] {
    const auto server = ServerProcess::Start({"--model=" + DemoModelDir()});
    const auto stub = Connect(server->grpc_address());
    std::vector<std::string> bits;
    for (const v1::GenerateRequest& request : RandomRequests(kRequests, Specs(), kDemoVocab, 1)) {
      bits.push_back(Bits(Generate(*stub, request)));
    }
    return bits;
  }();
  return alone;
}

struct Setting {
  const char* name;
  std::vector<std::string> flags;
  bool preempts = false;
};

class BatchingTest : public testing::TestWithParam<Setting> {};

TEST_P(BatchingTest, ConcurrentRequestsGetTheBitsTheyGetAlone) {
  std::vector<std::string> flags = {"--model=" + DemoModelDir()};
  flags.insert(flags.end(), GetParam().flags.begin(), GetParam().flags.end());
  const auto server = ServerProcess::Start(flags);
  ASSERT_NE(server, nullptr);
  const auto stub = Connect(server->grpc_address());
  const auto requests = RandomRequests(kRequests, Specs(), kDemoVocab, 1);
  const auto responses = GenerateAll(*stub, requests, RandomDelays(kRequests, 300, 2));
  for (int i = 0; i < kRequests; ++i) {
    EXPECT_EQ(Bits(responses[i]), Alone()[i]) << "request " << i;
  }
  const double preemptions = server->Metric("skipstone_num_preemptions_total");
  if (GetParam().preempts) {
    EXPECT_GT(preemptions, 0);
  } else {
    EXPECT_EQ(preemptions, 0);
  }
  EXPECT_EQ(server->Metric("skipstone_kv_pages", {"state=\"used\""}), 0);
}

// The longest request stores 138 tokens in 12 layers: 108 pages of 16 tokens.
INSTANTIATE_TEST_SUITE_P(
    Settings, BatchingTest,
    testing::Values(Setting{"AmplePool", {}}, Setting{"SmallPool", {"--kv_pages=260"}, true},
                    Setting{"OneThread", {"--threads=1"}}, Setting{"TwoThreads", {"--threads=2"}},
                    Setting{"EightRows", {"--max_batch_tokens=8"}},
                    Setting{"FiveHundredAndTwelveRows", {"--max_batch_tokens=512"}},
                    Setting{"NoLiveness", {"--liveness=false"}},
                    Setting{"SmallPages", {"--page_tokens=3", "--kv_pages=1200"}, true}),
    [](const testing::TestParamInfo<Setting>& info) { return info.param.name; });

TEST(BatchingTest, DecodeStepsHoldManySequences) {
  const auto server = ServerProcess::Start({"--model=" + DemoModelDir()});
  ASSERT_NE(server, nullptr);
  const auto stub = Connect(server->grpc_address());
  std::vector<v1::GenerateRequest> requests = RandomRequests(kRequests, Specs(), kDemoVocab, 3);
  GenerateAll(*stub, requests, std::vector<int>(kRequests, 0));
  const double tokens = server->Metric("skipstone_generation_tokens_total");
  const double steps = server->Metric("skipstone_step_rows_count");
  // Each decode step draws one token for each of its sequences.
  EXPECT_GE(tokens / steps, kRequests / 4);
}

}  // namespace
}  // namespace skipstone
