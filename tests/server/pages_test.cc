// The pages that requests report, and the pages that the server exposes, are the pages of the
// definition: full attention layers x ceil(stored tokens / page tokens), and of windowed layers
// those of the sink and the window.
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

struct Spec {
  std::string text;
  int full;                       // attention layers of 6
  std::vector<int> windows = {};  // of those that are windowed
};

const std::vector<Spec>& Specs() {
  static const std::vector<Spec> specs = {{"none", 6},
                                          {"attn:last=2", 4},
                                          {"win:last=2/16", 4, {16, 16}},
                                          {"attn:last=50%", 3},
                                          {"attn:last=3,keep-final", 3},
                                          {"attn:4-5+win:2/24,3/16", 2, {24, 16}},
                                          {"attn:0,5+mlp:2", 4},
                                          {"mlp:0-4", 6},
                                          {"win:0-5/16", 0, {16, 16, 16, 16, 16, 16}},
                                          {"block:last=1", 5},
                                          {"attn:0-5", 0}};
  return specs;
}

int Blocks(int stored) { return (stored + kPageTokens - 1) / kPageTokens; }

std::string Numbers(int count, int first) {
  std::string text;
  for (int i = 0; i < count; ++i) text += absl::StrFormat("%d ", (first + i) % 100);
  return text;
}

struct Pages {
  uint64_t used = 0;
  uint64_t windowed = 0;
  uint64_t omitted = 0;
};

// Block by block, by the positions that the next row would see.
Pages PagesOf(const Spec& spec, int stored) {
  Pages pages;
  for (int block = 0; block < Blocks(stored); ++block) {
    pages.used += spec.full;
    pages.omitted += kLayers - spec.full - spec.windows.size();
    const int first = block * kPageTokens;
    for (const int window : spec.windows) {
      const bool seen = first < 16 || stored - (first + kPageTokens - 1) < window;
      ++(seen ? pages.used : pages.windowed);
    }
  }
  return pages;
}

// `result`: Finished or a ScoreResult.
void ExpectPages(const auto& result, const Pages& want) {
  EXPECT_EQ(result.kv_pages_used(), want.used);
  EXPECT_EQ(result.kv_pages_windowed(), want.windowed);
  EXPECT_EQ(result.kv_pages_omitted(), want.omitted);
}

int Stored(const v1::Finished& finished) {
  return static_cast<int>(finished.usage().prompt_tokens() + finished.usage().completion_tokens()) -
         1;
}

FakeServerOptions SixLayers() {
  return {.num_layers = kLayers,
          .page_tokens = kPageTokens,
          .num_pages = 200000,
          .max_context = 60000,
          .max_sequences = 16};
}

TEST(PagesTest, EveryRequestReportsItsPages) {
  FakeServer server(SixLayers());
  std::mt19937 random(5);
  Pages sum;
  for (int i = 0; i < 200; ++i) {
    const Spec& spec = Specs()[i % Specs().size()];
    v1::GenerateRequest request =
        Prompt(Numbers(1 + random() % 80, static_cast<int>(random() % 100)), 1 + random() % 20);
    request.mutable_skip()->set_spec(spec.text);
    request.set_n(1 + random() % 3);
    const auto answer = server.Generate(request);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    for (const v1::GenerateOutput& output : answer.response.outputs()) {
      SCOPED_TRACE(spec.text);
      const Pages want = PagesOf(spec, Stored(output.finished()));
      ExpectPages(output.finished(), want);
      sum.windowed += want.windowed;
      sum.omitted += want.omitted;
    }
  }
  EXPECT_GT(sum.windowed, 0u);
  EXPECT_EQ(server.Metric("skipstone_kv_pages_windowed_total"), static_cast<double>(sum.windowed));
  EXPECT_EQ(server.Metric("skipstone_kv_pages_omitted_total"), static_cast<double>(sum.omitted));
}

// Numbers that need no function to check: pages of 4 tokens, of which the sink fills 4.
TEST(PagesTest, AWindowHoldsTheSinkAndItsLastPages) {
  FakeServer server(SixLayers());
  struct Length {
    int stored;
    uint64_t held;  // by one layer with a window of 16
    uint64_t away;
  };
  for (const Length& length : {Length{16, 4, 0},
                               {32, 8, 0},
                               {34, 9, 0},
                               {35, 8, 1},
                               {40, 8, 2},
                               {100, 8, 17},
                               {101, 9, 17},
                               {2000, 8, 492}}) {
    SCOPED_TRACE(length.stored);
    v1::GenerateRequest request = Prompt(Numbers(length.stored, 7), 1);
    request.mutable_skip()->set_spec("attn:5+win:3-4/16");
    const auto answer = server.Generate(request);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    const v1::Finished& finished = answer.response.outputs(0).finished();
    ASSERT_EQ(Stored(finished), length.stored);
    const auto blocks = static_cast<uint64_t>(Blocks(length.stored));
    ExpectPages(finished, {3 * blocks + 2 * length.held, 2 * length.away, blocks});
  }
}

// Full, windowed and skipping requests at once.
TEST(PagesTest, MetricsTellTheLevelsApart) {
  FakeServerOptions options = SixLayers();
  options.yaml = "levels: {full: none, near: 'win:last=3/16', less: 'attn:last=2'}";
  FakeServer server(options);
  const std::vector<Spec> levels = {{"full", 6}, {"near", 3, {16, 16, 16}}, {"less", 4}};
  std::vector<Pages> sums(levels.size());
  std::vector<std::unique_ptr<Streaming>> streams;
  for (int i = 0; i < 12; ++i) {
    const size_t level = i % levels.size();
    v1::GenerateRequest request = Prompt(Numbers(20 + 9 * i, i), 10 + i);
    request.mutable_skip()->set_level(levels[level].text);
    streams.push_back(std::make_unique<Streaming>(server.stub(), request));
    const Pages pages = PagesOf(levels[level], 20 + 9 * i + 10 + i - 1);
    sums[level].windowed += pages.windowed;
    sums[level].omitted += pages.omitted;
  }
  for (const auto& stream : streams) ASSERT_TRUE(stream->ReadAll().ok());
  EXPECT_GT(sums[1].windowed, 0u);
  EXPECT_GT(sums[2].omitted, 0u);
  for (size_t i = 0; i < levels.size(); ++i) {
    SCOPED_TRACE(levels[i].text);
    const std::vector<std::string> of = {absl::StrFormat("skip_level=\"%s\"", levels[i].text)};
    EXPECT_EQ(server.Metric("skipstone_kv_pages_windowed_total", of), sums[i].windowed);
    EXPECT_EQ(server.Metric("skipstone_kv_pages_omitted_total", of), sums[i].omitted);
  }
}

TEST(PagesTest, ScoresReportTheirPages) {
  FakeServer server(SixLayers());
  for (const Spec& spec : Specs()) {
    SCOPED_TRACE(spec.text);
    v1::ScoreRequest request;
    request.mutable_skip()->set_spec(spec.text);
    for (const int tokens : {10, 70}) {
      request.add_items()->mutable_prompt()->set_text(Numbers(tokens, 3));
    }
    grpc::ClientContext context;
    v1::ScoreResponse response;
    ASSERT_TRUE(server.stub().Score(&context, request, &response).ok());
    // The last token is scored by the one before it, and never runs itself.
    ExpectPages(response.results(0), PagesOf(spec, 9));
    ExpectPages(response.results(1), PagesOf(spec, 69));
  }
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
          Prompt(Numbers(1 + static_cast<int>(i) * 8 + round, static_cast<int>(i)), 50000);
      request.mutable_skip()->set_spec(Specs()[i].text);
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
      const int stored = Stored(streams[i]->Finished()[0]);
      ExpectPages(streams[i]->Finished()[0], PagesOf(Specs()[i], stored));
      // Held when the last token was drawn but not yet run.
      sum += PagesOf(Specs()[i], stored - 1).used;
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
