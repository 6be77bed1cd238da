// The pages that requests report, and the pages that the server exposes, are the pages of the
// definition: kept attention layers x ceil(stored tokens / page tokens).
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/server/streaming.h"

namespace skipstone::server {
namespace {

constexpr int kLayers = 6;
constexpr int kPageTokens = 4;

// Attention layers that each spec keeps of 6.
const std::vector<std::pair<std::string, int>>& Specs() {
  static const std::vector<std::pair<std::string, int>> specs = {
      {"none", 6},           {"attn:last=2", 4},
      {"attn:last=50%", 3},  {"attn:last=3,keep-final", 3},
      {"attn:0,5+mlp:2", 4}, {"mlp:0-4", 6},
      {"block:last=1", 5},   {"attn:0-5", 0}};
  return specs;
}

int Blocks(int stored) { return (stored + kPageTokens - 1) / kPageTokens; }

std::string Numbers(int count, int first) {
  std::string text;
  for (int i = 0; i < count; ++i) text += absl::StrFormat("%d ", (first + i) % 100);
  return text;
}

void CheckPages(const v1::Finished& finished, int kept) {
  const int tokens = static_cast<int>(finished.usage().completion_tokens());
  const int blocks = Blocks(static_cast<int>(finished.usage().prompt_tokens()) + tokens - 1);
  EXPECT_EQ(finished.kv_pages_used(), static_cast<uint64_t>(kept * blocks));
  EXPECT_EQ(finished.kv_pages_omitted(), static_cast<uint64_t>((kLayers - kept) * blocks));
}

FakeServerOptions SixLayers() {
  return {
      .num_layers = kLayers, .page_tokens = kPageTokens, .num_pages = 200000, .max_context = 60000};
}

TEST(PagesTest, EveryRequestReportsItsPages) {
  FakeServer server(SixLayers());
  std::mt19937 random(5);
  double omitted = 0;
  for (int i = 0; i < 200; ++i) {
    const auto& [spec, kept] = Specs()[i % Specs().size()];
    v1::GenerateRequest request =
        Prompt(Numbers(1 + random() % 40, static_cast<int>(random() % 100)), 1 + random() % 20);
    request.mutable_skip()->set_spec(spec);
    request.set_n(1 + random() % 3);
    const auto answer = server.Generate(request);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    for (const v1::GenerateOutput& output : answer.response.outputs()) {
      SCOPED_TRACE(spec);
      CheckPages(output.finished(), kept);
      omitted += static_cast<double>(output.finished().kv_pages_omitted());
    }
  }
  EXPECT_EQ(server.Metric("skipstone_kv_pages_omitted_total"), omitted);
}

TEST(PagesTest, ScoresReportTheirPages) {
  FakeServer server(SixLayers());
  for (const auto& [spec, kept] : Specs()) {
    v1::ScoreRequest request;
    request.mutable_skip()->set_spec(spec);
    request.add_items()->mutable_prompt()->set_text(Numbers(10, 3));
    grpc::ClientContext context;
    v1::ScoreResponse response;
    ASSERT_TRUE(server.stub().Score(&context, request, &response).ok());
    // The last token is scored by the one before it, and never runs itself.
    EXPECT_EQ(response.results(0).kv_pages_used(), static_cast<uint64_t>(kept * Blocks(9))) << spec;
    EXPECT_EQ(response.results(0).kv_pages_omitted(),
              static_cast<uint64_t>((kLayers - kept) * Blocks(9)))
        << spec;
  }
}

// The pages of a stopped request held when its last token was drawn but not yet run.
uint64_t PagesBefore(const v1::Finished& finished, int kept) {
  const int tokens = static_cast<int>(finished.usage().completion_tokens()) - 1;
  return kept * Blocks(static_cast<int>(finished.usage().prompt_tokens()) + tokens - 1);
}

// While a step is held at the gate the metric tells the pages of the tokens drawn before it; each
// request draws one more in that step, and is then aborted.
TEST(PagesTest, UsedPagesOfTheMetricAreTheSumOverTheRequests) {
  FakeServer server(SixLayers());
  for (int round = 0; round < 5; ++round) {
    std::vector<std::unique_ptr<Streaming>> streams;
    v1::AbortRequest abort;
    for (size_t i = 0; i < Specs().size(); ++i) {
      v1::GenerateRequest request =
          Prompt(Numbers(1 + static_cast<int>(i) * 3 + round, static_cast<int>(i)), 50000);
      request.mutable_skip()->set_spec(Specs()[i].first);
      request.mutable_output()->set_token_ids(true);
      request.set_request_id(absl::StrFormat("%d", i));
      abort.add_request_ids(request.request_id());
      streams.push_back(std::make_unique<Streaming>(server.stub(), request));
    }
    for (const auto& stream : streams) stream->ReadTokens(2 + 3 * round);
    server.gate().CloseAndWait();
    const double used = server.Metric("skipstone_kv_pages", {"state=\"used\""});
    const v1::GetLoadResponse load = server.Load();
    grpc::ClientContext context;
    v1::AbortResponse aborted;
    ASSERT_TRUE(server.stub().Abort(&context, abort, &aborted).ok());
    server.gate().Open();
    uint64_t sum = 0;
    for (size_t i = 0; i < streams.size(); ++i) {
      ASSERT_TRUE(streams[i]->ReadAll().ok());
      ASSERT_EQ(streams[i]->Finished().size(), 1u);
      CheckPages(streams[i]->Finished()[0], Specs()[i].second);
      sum += PagesBefore(streams[i]->Finished()[0], Specs()[i].second);
    }
    EXPECT_GT(sum, 0u);
    EXPECT_EQ(used, static_cast<double>(sum));
    EXPECT_EQ(load.kv_pages_used(), sum);
    EXPECT_EQ(load.kv_pages_free() + load.kv_pages_cached(), load.kv_pages_total() - sum);
    EXPECT_EQ(server.Load().kv_pages_used(), 0u);
  }
}

}  // namespace
}  // namespace skipstone::server
