// What the prefix cache is for: a prompt whose beginning is known, under whatever skip set, has its
// first token sooner.
#include <algorithm>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/integration/request_batch.h"
#include "tests/support/server_process.h"

namespace skipstone {
namespace {

constexpr int kPromptTokens = 420;  // 416 of them can be shared: 26 blocks of 16
constexpr int kRounds = 9;

v1::GenerateRequest Request(int round, const std::string& skip) {
  v1::GenerateRequest request;
  for (int i = 0; i < kPromptTokens; ++i) {
    request.mutable_token_ids()->add_ids(3 + (round * 131 + i * 7) % 2000);
  }
  request.mutable_skip()->set_spec(skip);
  request.mutable_stopping()->set_max_tokens(1);
  return request;
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

TEST(PrefixCacheTest, AHitHasItsFirstTokenInAQuarterOfTheTimeOfAMiss) {
  const auto server = ServerProcess::Start({"--model=" + DemoModelDir()});
  ASSERT_NE(server, nullptr);
  const auto stub = Connect(server->grpc_address());
  std::vector<double> same, across;
  for (int round = 0; round < kRounds; ++round) {
    const auto miss = Generate(*stub, Request(round, "none"));
    const auto hit = Generate(*stub, Request(round, "none"));
    const auto skipping = Generate(*stub, Request(round, "attn:last=25%"));
    EXPECT_EQ(miss.accepted().cached_prompt_tokens(), 0);
    EXPECT_EQ(hit.accepted().cached_prompt_tokens(), 416);
    EXPECT_EQ(skipping.accepted().cached_prompt_tokens(), 416);
    const auto ttft = [](const v1::GenerateResponse& response) {
      return response.outputs(0).finished().timing().ttft_ms();
    };
    same.push_back(ttft(hit) / ttft(miss));
    across.push_back(ttft(skipping) / ttft(miss));
  }
  RecordProperty("same_set", std::to_string(Median(same)));
  RecordProperty("across_sets", std::to_string(Median(across)));
  EXPECT_LE(Median(same), 0.25);
  EXPECT_LE(Median(across), 0.25) << "a skipping request after a full one";
}

}  // namespace
}  // namespace skipstone
