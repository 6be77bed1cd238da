// What batching is for: on a model whose weights do not fit a cache, requests that share steps
// share the reading of the weights.
#include <chrono>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/integration/request_batch.h"
#include "tests/support/server_process.h"

namespace skipstone {
namespace {

constexpr int kRequests = 64;
// So many are sent one after another; the others would take as long.
constexpr int kAlone = 8;
// 0.5 GiB of bf16 weights: more than the last-level cache of any machine that runs this test.
const std::string kModel = "synthetic:layers=12,hidden=1280,heads=20,ffn=3456,vocab=4096";

double SecondsOf(const std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<v1::GenerateRequest> Requests(int count) {
  std::vector<v1::GenerateRequest> requests(count);
  for (int i = 0; i < count; ++i) {
    for (int t = 0; t < 8; ++t) requests[i].mutable_token_ids()->add_ids(100 + 8 * i + t);
    requests[i].mutable_stopping()->set_max_tokens(24);
    requests[i].mutable_sampling()->set_temperature(0);
  }
  return requests;
}

TEST(ConcurrencyTest, TogetherRequestsFinishThreeTimesSoonerThanOneAfterAnother) {
  const auto server = ServerProcess::Start({"--model=" + kModel, "--kv_memory=512MiB"});
  ASSERT_NE(server, nullptr);
  const auto stub = Connect(server->grpc_address());
  const std::vector<v1::GenerateRequest> requests = Requests(kRequests);
  Generate(*stub, requests[0]);  // touches the weights once

  const auto alone = std::chrono::steady_clock::now();
  for (int i = 0; i < kAlone; ++i) Generate(*stub, requests[i]);
  const double one_after_another = SecondsOf(alone) * kRequests / kAlone;

  const auto together = std::chrono::steady_clock::now();
  GenerateAll(*stub, requests, std::vector<int>(kRequests, 0));
  const double at_once = SecondsOf(together);

  RecordProperty("one_after_another_ms", static_cast<int>(one_after_another * 1000));
  RecordProperty("at_once_ms", static_cast<int>(at_once * 1000));
  EXPECT_LE(at_once * 3, one_after_another)
      << at_once << " s at once, " << one_after_another << " s one after another";
}

}  // namespace
}  // namespace skipstone
