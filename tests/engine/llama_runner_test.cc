// The whole engine on the CPU backend with the demo model: goldens of an independent NumPy
// implementation, and batched against alone, without gRPC, so that the sanitizers see it all.
#include "engine/llama_runner.h"
#include "engine/schedule/scheduler.h"

#include <bit>
#include <filesystem>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/engine.h"
#include "engine/schedule/scheduler.h"
#include "gtest/gtest.h"
#include "tests/support/goldens.h"
#include "tests/support/recording_sink.h"
#include "tests/support/seeded_maps.h"
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

// An engine whose model has the maps of some sets.
struct TestEngine {
  SeededMaps maps;
  EnginePtr engine;
};

std::unique_ptr<TestEngine> StartEngine(const std::string& path, const Settings& s,
                                        const std::vector<std::string>& sets) {
  auto model = LoadModel(path, {.backend = "cpu", .threads = s.threads});
  EXPECT_TRUE(model.ok()) << model.status();
  auto started = std::make_unique<TestEngine>();
  started->maps.AddTo(&*model, sets);
  const ModelConfig config = model->config;
  auto runner = MakeLlamaRunner(*std::move(model),
                                {.limits = {.max_rows = kMaxRowsPerWork * s.max_batch_tokens,
                                            .max_logits_rows = s.max_batch_tokens,
                                            .max_slots = 64,
                                            .page_tokens = s.page_tokens,
                                            .num_pages = s.num_pages},
                                 .liveness = s.liveness});
  EXPECT_TRUE(runner.ok()) << runner.status();
  started->engine = Engine::Start(
      {.runner = *std::move(runner), .tokenizer = MakeSyntheticTokenizer(config.shape.vocab)},
      {.scheduler = {.max_batch_tokens = s.max_batch_tokens,
                     .max_sequences = 64,
                     .page_tokens = s.page_tokens,
                     .num_pages = s.num_pages,
                     .liveness = s.liveness},
       .limits = {.num_layers = config.shape.num_layers,
                  .vocab = config.shape.vocab,
                  .max_context = config.shape.max_context},
       .eos_ids = config.eos_ids});
  return started;
}

std::shared_ptr<Recording> Submit(Engine& engine, EngineRequest request) {
  auto recording = std::make_shared<Recording>();
  const absl::Status status = engine.Submit(std::move(request), Recording::Sink(recording));
  EXPECT_TRUE(status.ok()) << status;
  return recording;
}

// Twice: where only the rows of the continuation need logits, and where all do.
std::vector<EngineRequest> RequestsOf(const nlohmann::json& golden, int num_layers) {
  EngineRequest request{.prompt = golden["prompt_ids"],
                        .skip = SeededSet(golden["skip"].get<std::string>(), num_layers)};
  request.sampling.temperature = 0;
  request.stopping.max_tokens = static_cast<int>(golden["greedy_ids"].size());
  request.stopping.ignore_eos = true;
  request.output.logprobs = 0;
  EngineRequest with_prompt = request;
  with_prompt.output.prompt_logprobs = 0;
  return {request, with_prompt};
}

void CheckOutput(const nlohmann::json& golden, const Recording::Output& output) {
  // The smallest top-2 gap of a case is 2e-3, well above what f32 changes.
  ASSERT_EQ(output.Ids(), golden["greedy_ids"].get<std::vector<int32_t>>());
  for (size_t t = 0; t < output.tokens.size(); ++t) {
    EXPECT_NEAR(*output.tokens[t].token.logprob, golden["greedy_logprobs"][t].get<double>(), 1e-3);
  }
  for (size_t t = 1; t < output.prompt_tokens.size(); ++t) {
    EXPECT_NEAR(*output.prompt_tokens[t].token.logprob,
                golden["prompt_logprobs"][t - 1].get<double>(), 1e-3);
  }
}

class LlamaRunnerGoldenTest : public testing::TestWithParam<const char*> {
 protected:
  // All cases at once.
  void Check(const Settings& settings) {
    SCOPED_TRACE(
        absl::StrFormat("%d rows, pages of %d", settings.max_batch_tokens, settings.page_tokens));
    std::vector<std::string> sets;
    for (const auto& golden : goldens_["cases"]) sets.push_back(golden["skip"]);
    const auto started = StartEngine(goldens_["model"], settings, sets);
    std::vector<std::shared_ptr<Recording>> recordings;
    for (const auto& golden : goldens_["cases"]) {
      for (EngineRequest& request : RequestsOf(golden, goldens_["layers"])) {
        request.id = std::to_string(recordings.size());
        recordings.push_back(Submit(*started->engine, request));
      }
    }
    for (size_t i = 0; i < recordings.size(); ++i) {
      const auto& golden = goldens_["cases"][i / 2];
      SCOPED_TRACE(golden["skip"].get<std::string>());
      ASSERT_TRUE(recordings[i]->WaitDone().ok());
      const Recording::Output& output = recordings[i]->outputs()[0];
      EXPECT_EQ(output.prompt_tokens.size(), i % 2 == 0 ? 0 : golden["prompt_ids"].size());
      CheckOutput(golden, output);
    }
  }

 private:
  const nlohmann::json goldens_ = ReadGoldens(GetParam());
};

// The sink and the windows are not of pages, and cross chunks.
TEST_P(LlamaRunnerGoldenTest, AnswersAsTheOracleDoes) {
  Check({.threads = 2});
  Check({.threads = 2, .max_batch_tokens = 40, .num_pages = 10000, .page_tokens = 5});
}

INSTANTIATE_TEST_SUITE_P(Models, LlamaRunnerGoldenTest,
                         testing::Values(kGoldenFiles[0], kGoldenFiles[1], kGoldenFiles[2],
                                         kCompensatedGoldens),
                         [](const auto& info) {
                           return std::filesystem::path(info.param).stem().string();
                         });

const std::vector<std::string>& Sets() {
  static const std::vector<std::string> sets = {"none",
                                                "attn:last=25%",
                                                "attn:last=50%",
                                                "attn:0-11",
                                                "attn:1,11+mlp:2",
                                                "block:last=3",
                                                "win:last=50%/16",
                                                "attn:10-11+win:2/24,6-9/16",
                                                "attn:last=25%@diag",
                                                "attn:last=50%@rank=3,bias",
                                                "attn:last=25%@full",
                                                "attn:1,11+win:8-9/16+mlp:2@rank=5,diag"};
  return sets;
}

std::vector<EngineRequest> RandomRequests(int count) {
  std::mt19937 random(5);
  std::vector<EngineRequest> requests;
  for (int i = 0; i < count; ++i) {
    EngineRequest request{.id = std::to_string(i),
                          .skip = SeededSet(Sets()[i % Sets().size()], kLayers)};
    const int prompt = 1 + random() % 80;
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
    const auto started = StartEngine(DemoModelDir(), {}, Sets());
    for (const EngineRequest& request : requests) {
      auto recording = Submit(*started->engine, request);
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
    const auto started = StartEngine(DemoModelDir(), s, Sets());
    std::vector<std::shared_ptr<Recording>> recordings;
    for (const EngineRequest& request : requests) {
      recordings.push_back(Submit(*started->engine, request));
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      ASSERT_TRUE(recordings[i]->WaitDone().ok());
      EXPECT_EQ(Bits(*recordings[i]), alone[i]) << "request " << i;
    }
  }
}

}  // namespace
}  // namespace skipstone
