// The whole engine on the CPU backend with the demo model: goldens of an independent NumPy
// implementation, and batched against alone, without gRPC, so that the sanitizers see it all.
#include "engine/llama_runner.h"
#include "engine/schedule/scheduler.h"

#include <bit>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/engine.h"
#include "engine/schedule/scheduler.h"
#include "engine/skip/skip_grammar.h"
#include "gtest/gtest.h"
#include "tests/support/paths.h"
#include "tests/support/recording_sink.h"
#include "tests/support/server_process.h"

namespace skipstone {
namespace {

constexpr int kLayers = 12;

struct Settings {
  int threads = 1;
  int max_batch_tokens = 512;
  int64_t num_pages = 4000;
  int page_tokens = 16;
  bool liveness = true;
};

EnginePtr StartDemo(const Settings& s) {
  auto model = LoadModel(DemoModelDir(), {.backend = "cpu", .threads = s.threads});
  EXPECT_TRUE(model.ok()) << model.status();
  const ModelConfig config = model->config;
  auto tokenizer = OpenTokenizer(DemoModelDir(), config.bos_id);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  auto runner = MakeLlamaRunner(*std::move(model),
                                {.limits = {.max_rows = kMaxRowsPerWork * s.max_batch_tokens,
                                            .max_logits_rows = s.max_batch_tokens,
                                            .max_slots = 64,
                                            .page_tokens = s.page_tokens,
                                            .num_pages = s.num_pages},
                                 .liveness = s.liveness});
  EXPECT_TRUE(runner.ok()) << runner.status();
  return Engine::Start({.runner = *std::move(runner), .tokenizer = *std::move(tokenizer)},
                       {.scheduler = {.max_batch_tokens = s.max_batch_tokens,
                                      .max_sequences = 64,
                                      .page_tokens = s.page_tokens,
                                      .num_pages = s.num_pages},
                        .limits = {.num_layers = kLayers,
                                   .vocab = config.shape.vocab,
                                   .max_context = config.shape.max_context},
                        .eos_ids = config.eos_ids});
}

std::shared_ptr<Recording> Submit(Engine& engine, EngineRequest request) {
  auto recording = std::make_shared<Recording>();
  const absl::Status status = engine.Submit(std::move(request), Recording::Sink(recording));
  EXPECT_TRUE(status.ok()) << status;
  return recording;
}

TEST(LlamaRunnerTest, ReproducesTheGoldens) {
  const auto engine = StartDemo({.threads = 2});
  std::ifstream in(SourceDir() + "/tests/golden/demo.json");
  const nlohmann::json goldens = nlohmann::json::parse(in);
  std::vector<std::shared_ptr<Recording>> recordings;
  for (const auto& golden : goldens["cases"]) {
    EngineRequest request{.id = std::to_string(recordings.size()),
                          .prompt = golden["prompt_ids"],
                          .skip = *ParseSkipSet(golden["skip"].get<std::string>(), kLayers)};
    request.sampling.temperature = 0;
    request.stopping.max_tokens = static_cast<int>(golden["greedy_ids"].size());
    request.stopping.ignore_eos = true;
    request.output.logprobs = 0;
    recordings.push_back(Submit(*engine, request));
  }
  for (size_t i = 0; i < recordings.size(); ++i) {
    const auto& golden = goldens["cases"][i];
    SCOPED_TRACE(golden["skip"].get<std::string>());
    ASSERT_TRUE(recordings[i]->WaitDone().ok());
    const Recording::Output& output = recordings[i]->outputs()[0];
    // The smallest top-2 gap of these cases is 2.4e-3, well above what f32 changes.
    ASSERT_EQ(output.Ids(), golden["greedy_ids"].get<std::vector<int32_t>>());
    for (size_t t = 0; t < output.tokens.size(); ++t) {
      EXPECT_NEAR(*output.tokens[t].token.logprob, golden["greedy_logprobs"][t].get<double>(),
                  1e-3);
    }
  }
}

std::vector<EngineRequest> RandomRequests(int count) {
  static const char* const kSkips[] = {"none",      "attn:last=25%",   "attn:last=50%",
                                       "attn:0-11", "attn:1,11+mlp:2", "block:last=3"};
  std::mt19937 random(5);
  std::vector<EngineRequest> requests;
  for (int i = 0; i < count; ++i) {
    EngineRequest request{.id = std::to_string(i), .skip = *ParseSkipSet(kSkips[i % 6], kLayers)};
    const int prompt = 1 + random() % 40;
    for (int t = 0; t < prompt; ++t) request.prompt.push_back(3 + random() % 2000);
    request.sampling.temperature = i % 2 ? 0.9f : 0.0f;
    request.sampling.seed = random();
    request.stopping.max_tokens = 1 + random() % 24;
    request.stopping.ignore_eos = true;
    request.output.logprobs = 3;
    if (i % 3 == 0) request.output.prompt_logprobs = 1;
    requests.push_back(std::move(request));
  }
  return requests;
}

std::string Bits(const Recording& recording) {
  std::string bits;
  const auto add = [&](const GeneratedToken& token) {
    bits += absl::StrFormat("%d:%08x ", token.token.id,
                            std::bit_cast<uint32_t>(token.token.logprob.value_or(0)));
    for (const TokenText& top : token.top) {
      bits += absl::StrFormat("%d:%08x ", top.id, std::bit_cast<uint32_t>(*top.logprob));
    }
  };
  for (const Recording::Output& output : recording.outputs()) {
    for (const GeneratedToken& token : output.prompt_tokens) add(token);
    for (const GeneratedToken& token : output.tokens) add(token);
  }
  return bits;
}

TEST(LlamaRunnerTest, BatchedBitsEqualThoseAlone) {
  const std::vector<EngineRequest> requests = RandomRequests(24);
  std::vector<std::string> alone;
  {
    const auto engine = StartDemo({});
    for (const EngineRequest& request : requests) {
      auto recording = Submit(*engine, request);
      ASSERT_TRUE(recording->WaitDone().ok());
      alone.push_back(Bits(*recording));
    }
  }
  const Settings settings[] = {{.threads = 2},
                               {.threads = 2, .max_batch_tokens = 8},
                               {.threads = 2, .num_pages = 130},
                               {.threads = 2, .max_batch_tokens = 64, .page_tokens = 5},
                               {.threads = 1, .liveness = false}};
  for (const Settings& s : settings) {
    SCOPED_TRACE(absl::StrFormat("threads %d rows %d pages %d of %d liveness %d", s.threads,
                                 s.max_batch_tokens, s.num_pages, s.page_tokens, s.liveness));
    const auto engine = StartDemo(s);
    std::vector<std::shared_ptr<Recording>> recordings;
    for (const EngineRequest& request : requests) recordings.push_back(Submit(*engine, request));
    for (size_t i = 0; i < requests.size(); ++i) {
      ASSERT_TRUE(recordings[i]->WaitDone().ok());
      EXPECT_EQ(Bits(*recordings[i]), alone[i]) << "request " << i;
    }
  }
}

}  // namespace
}  // namespace skipstone
