// Checkpoints that people have, through the whole engine on the CPU: broken ones, and ones of
// several types.
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/engine.h"
#include "engine/llama_runner.h"
#include "engine/schedule/scheduler.h"
#include "engine/skip/skip_grammar.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/recording_sink.h"
#include "tests/support/server_process.h"

namespace skipstone {
namespace {

constexpr int kLayers = 12;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

EnginePtr StartEngine(const std::string& dir) {
  auto model = LoadModel(dir, {.backend = "cpu", .threads = 2});
  EXPECT_TRUE(model.ok()) << model.status();
  const ModelConfig config = model->config;
  constexpr int kRows = 64;
  constexpr int64_t kPages = 4000;
  auto runner = MakeLlamaRunner(*std::move(model), {.limits = {.max_rows = kMaxRowsPerWork * kRows,
                                                               .max_logits_rows = kRows,
                                                               .max_slots = 32,
                                                               .page_tokens = 16,
                                                               .num_pages = kPages}});
  EXPECT_TRUE(runner.ok()) << runner.status();
  return Engine::Start(
      {.runner = *std::move(runner), .tokenizer = MakeSyntheticTokenizer(config.shape.vocab)},
      {.scheduler =
           {.max_batch_tokens = kRows, .max_sequences = 32, .page_tokens = 16, .num_pages = kPages},
       .limits = {.num_layers = kLayers,
                  .vocab = config.shape.vocab,
                  .max_context = config.shape.max_context}});
}

EnginePtr StartEngine(const TestCheckpoint& checkpoint) {
  const TempDir dir;
  checkpoint.WriteSingle(dir);
  return StartEngine(dir.path());  // which has mapped the file
}

std::shared_ptr<Recording> Submit(Engine& engine, EngineRequest request) {
  auto recording = std::make_shared<Recording>();
  const absl::Status status = engine.Submit(std::move(request), Recording::Sink(recording));
  EXPECT_TRUE(status.ok()) << status;
  return recording;
}

// One of each path from logits to an answer.
std::vector<EngineRequest> EveryPath(const std::string& skip, int32_t token) {
  EngineRequest greedy{.prompt = {1, 300, token, 42, 7}, .skip = *ParseSkipSet(skip, kLayers)};
  greedy.stopping.max_tokens = 6;
  greedy.stopping.ignore_eos = true;
  greedy.sampling.temperature = 0;
  EngineRequest sampled = greedy;
  sampled.sampling = {.temperature = 0.9f, .top_k = 50, .top_p = 0.95f, .seed = 3};
  sampled.output.logprobs = 2;
  EngineRequest penalised = greedy;
  penalised.sampling = {.temperature = 0.9f, .repetition_penalty = 1.2f, .seed = 4};
  penalised.sampling.logit_bias = {{9, -100.0f}};
  penalised.n = 2;
  EngineRequest prompt_logprobs = greedy;
  prompt_logprobs.output.prompt_logprobs = 1;
  EngineRequest score = greedy;
  score.score_from = 1;
  score.output.prompt_logprobs = 1;
  std::vector<EngineRequest> all{greedy, sampled, penalised, prompt_logprobs, score};
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].id = absl::StrFormat("%s %d %d", skip, token, i);
    all[i].labels.level = skip;
  }
  return all;
}

std::string Bits(const Recording& recording) {
  std::string bits;
  for (const Recording::Output& output : recording.outputs()) {
    for (const auto* tokens : {&output.prompt_tokens, &output.tokens}) {
      for (const GeneratedToken& token : *tokens) {
        bits += absl::StrFormat("%d:%08x ", token.token.id,
                                std::bit_cast<uint32_t>(token.token.logprob.value_or(0)));
      }
    }
  }
  return bits;
}

std::vector<std::string> BitsOf(Engine& engine, const std::vector<EngineRequest>& requests) {
  std::vector<std::string> bits;
  for (const EngineRequest& request : requests) {
    auto recording = Submit(engine, request);
    EXPECT_TRUE(recording->WaitDone().ok());
    bits.push_back(Bits(*recording));
  }
  return bits;
}

// One element of a tensor, and a set that does not run the tensor; empty if every set does.
struct Fault {
  const char* tensor;
  float value;
  const char* skip;
};

class CheckpointFaultTest : public testing::Test {
 protected:
  static constexpr int32_t kToken = 700;

  // The requests of `broken` fail and those of `whole` go on, in the same steps, as without the
  // fault.
  void Check(const std::string& tensor, int64_t element, float value,
             const std::vector<EngineRequest>& broken, const std::vector<EngineRequest>& whole) {
    SCOPED_TRACE(absl::StrFormat("%s[%d] = %g", tensor, element, value));
    TestCheckpoint checkpoint = demo_;
    SetBf16(checkpoint.Find(tensor), element, value);
    const auto engine = StartEngine(checkpoint);
    std::vector<std::shared_ptr<Recording>> failing, going_on;
    for (size_t i = 0; i < std::max(broken.size(), whole.size()); ++i) {
      if (i < broken.size()) failing.push_back(Submit(*engine, broken[i]));
      if (i < whole.size()) going_on.push_back(Submit(*engine, whole[i]));
    }
    for (size_t i = 0; i < failing.size(); ++i) {
      const absl::Status status = failing[i]->WaitDone();
      EXPECT_TRUE(absl::IsInternal(status)) << broken[i].id << ": " << status;
      EXPECT_THAT(status.ToString(), testing::AllOf(testing::HasSubstr("non-finite"),
                                                    testing::HasSubstr("logits at position")));
    }
    const std::vector<std::string> expected = BitsOf(*intact_, whole);
    for (size_t i = 0; i < going_on.size(); ++i) {
      const absl::Status status = going_on[i]->WaitDone();
      EXPECT_TRUE(status.ok()) << whole[i].id << ": " << status;
      EXPECT_EQ(Bits(*going_on[i]), expected[i]) << whole[i].id;
    }
    EXPECT_TRUE(engine->health().ok());
  }

  const TestCheckpoint demo_ = DemoCheckpoint();
  const EnginePtr intact_ = StartEngine(DemoModelDir());
};

TEST_F(CheckpointFaultTest, FailsTheRequestsThatRunABrokenTensorAndNoOthers) {
  const Fault faults[] = {
      {"model.layers.5.mlp.down_proj.weight", kNan, "mlp:5"},
      {"model.layers.5.mlp.gate_proj.weight", kInfinity, "mlp:5"},
      {"model.layers.0.mlp.up_proj.weight", -kInfinity, "mlp:0"},
      {"model.layers.2.post_attention_layernorm.weight", kNan, "mlp:2"},
      {"model.layers.2.input_layernorm.weight", kInfinity, "attn:2"},
      {"model.layers.11.self_attn.q_proj.weight", kNan, "attn:last=1"},
      {"model.layers.11.self_attn.k_proj.weight", kInfinity, "attn:last=1"},
      {"model.layers.11.self_attn.k_proj.weight", kNan, "attn:11"},
      {"model.layers.0.self_attn.v_proj.weight", kInfinity, "attn:0"},
      {"model.layers.7.self_attn.v_proj.weight", kNan, "attn:last=50%"},
      {"model.layers.7.self_attn.o_proj.weight", -kInfinity, "attn:7+mlp:3"},
      // Finite, but not what becomes of them.
      {"model.layers.4.mlp.down_proj.weight", 1e30f, "mlp:4"},
      {"model.layers.4.self_attn.o_proj.weight", -3e38f, "attn:4"},
      {"model.norm.weight", kNan, ""},
      {"lm_head.weight", kInfinity, ""},
      {"lm_head.weight", kNan, ""},
  };
  for (const Fault& fault : faults) {
    const bool avoidable = *fault.skip != '\0';
    std::vector<EngineRequest> whole;
    if (avoidable) whole = EveryPath(fault.skip, kToken);
    Check(fault.tensor, 17, fault.value, EveryPath("none", kToken), whole);
  }
}

TEST_F(CheckpointFaultTest, ABrokenEmbeddingFailsTheRequestsThatHaveItsToken) {
  const int64_t element = int64_t{kToken} * demo_.shape.hidden + 3;
  for (const float value : {kNan, kInfinity, -kInfinity, 1e30f}) {
    Check("model.embed_tokens.weight", element, value, EveryPath("none", kToken),
          EveryPath("none", kToken + 1));
  }
}

// As merged adapters leave them: some products in f32 or f16 beside bf16, within groups too.
TEST(CheckpointTypesTest, ServesSeveralTypesInOneCheckpoint) {
  TestCheckpoint mixed = DemoCheckpoint();
  for (TestTensor& tensor : mixed.tensors) {
    const auto is = [&](const char* part) { return tensor.name.find(part) != std::string::npos; };
    if (is("q_proj") || is("v_proj") || is("embed_tokens") || is("layers.3.") ||
        is("layers.8.mlp.up_proj") || is("layers.9.self_attn.o_proj") || is("layers.1.mlp.down")) {
      tensor = ConvertedTo("F32", tensor);
    }
  }
  const std::vector<EngineRequest> requests = EveryPath("attn:last=25%", 700);
  const auto plain = StartEngine(DemoModelDir());
  const auto engine = StartEngine(mixed);
  const std::vector<std::string> alone = BitsOf(*engine, requests);
  std::vector<std::shared_ptr<Recording>> together;
  for (const EngineRequest& request : requests) together.push_back(Submit(*engine, request));
  for (size_t i = 0; i < requests.size(); ++i) {
    ASSERT_TRUE(together[i]->WaitDone().ok());
    EXPECT_EQ(Bits(*together[i]), alone[i]);
    // The weights are equal; sums differ in their order.
    auto reference = Submit(*plain, requests[i]);
    ASSERT_TRUE(reference->WaitDone().ok());
    for (size_t o = 0; o < reference->outputs().size(); ++o) {
      const Recording::Output& expected = reference->outputs()[o];
      const Recording::Output& actual = together[i]->outputs()[o];
      EXPECT_EQ(actual.Ids(), expected.Ids());
      ASSERT_EQ(actual.prompt_tokens.size(), expected.prompt_tokens.size());
      for (size_t t = 0; t < actual.prompt_tokens.size(); ++t) {
        EXPECT_NEAR(actual.prompt_tokens[t].token.logprob.value_or(0),
                    expected.prompt_tokens[t].token.logprob.value_or(0), 1e-4);
      }
    }
  }
}

TEST(CheckpointTypesTest, ServesF16BesideTheOthers) {
  TestCheckpoint mixed = DemoCheckpoint();
  for (const char* name : {"model.layers.2.self_attn.k_proj.weight",
                           "model.layers.2.mlp.gate_proj.weight", "lm_head.weight"}) {
    mixed.Find(name) = ConvertedTo("F16", mixed.Find(name));
  }
  const auto engine = StartEngine(mixed);
  const auto plain = StartEngine(DemoModelDir());
  EngineRequest request = EveryPath("none", 700).back();
  auto actual = Submit(*engine, request);
  auto expected = Submit(*plain, request);
  ASSERT_TRUE(actual->WaitDone().ok() && expected->WaitDone().ok());
  const auto& tokens = actual->outputs()[0].prompt_tokens;
  ASSERT_EQ(tokens.size(), 4u);
  for (size_t t = 0; t < tokens.size(); ++t) {
    EXPECT_NEAR(*tokens[t].token.logprob, *expected->outputs()[0].prompt_tokens[t].token.logprob,
                1e-3);
  }
}

}  // namespace
}  // namespace skipstone
