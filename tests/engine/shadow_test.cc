#include "engine/shadow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "engine/engine.h"
#include "engine/llama_runner.h"
#include "engine/make_backend.h"
#include "engine/skip/skip_grammar.h"
#include "tests/support/fake_engine.h"
#include "tests/support/paths.h"
#include "tests/support/recording_sink.h"

namespace skipstone {
namespace {

// What the engine said of one shadow.
class Answer {
 public:
  OnShadow Take() {
    return [this](const std::optional<ShadowResult>& result) {
      MutexLock lock(mutex_);
      result_ = result;
      ++calls_;
      called_.NotifyAll();
    };
  }
  int calls() {
    MutexLock lock(mutex_);
    return calls_;
  }
  std::optional<ShadowResult> Wait() {
    MutexLock lock(mutex_);
    while (calls_ == 0) called_.Wait(mutex_);
    EXPECT_EQ(calls_, 1);
    return result_;
  }

 private:
  Mutex mutex_;
  CondVar called_;
  std::optional<ShadowResult> result_;
  int calls_ = 0;
};

class ShadowTest : public testing::Test {
 protected:
  ShadowTest() {
    LoadedModel model = LoadModel(SourceDir() + "/models/demo", {.backend = "cpu"}).value();
    layers_ = model.config.shape.num_layers;
    EngineOptions options{.scheduler = {.max_batch_tokens = 64,
                                        .max_sequences = 8,
                                        .page_tokens = 16,
                                        .num_pages = 1000,
                                        .work = ModelWorkOf(model)},
                          .limits = {.num_layers = layers_,
                                     .vocab = model.config.shape.vocab,
                                     .max_context = 512,
                                     .max_queue = 100}};
    auto tokenizer = OpenTokenizer(SourceDir() + "/models/demo", 1).value();
    auto runner = MakeLlamaRunner(std::move(model), {.limits = {.max_rows = 128,
                                                                .max_logits_rows = 64,
                                                                .max_slots = 8,
                                                                .page_tokens = 16,
                                                                .num_pages = 1000}});
    engine_ =
        Engine::Start({.runner = *std::move(runner), .tokenizer = std::move(tokenizer)}, options);
  }

  // Prompt and what is drawn behind it at temperature 1.
  std::vector<int32_t> Generate(const std::string& skip, uint64_t seed, int tokens) {
    EngineRequest request{.id = "r" + std::to_string(seed), .skip = *ParseSkipSet(skip, layers_)};
    for (int i = 0; i < 20; ++i)
      request.prompt.push_back(3 + static_cast<int>(seed * 37 + i * i) % 900);
    request.sampling.seed = seed;
    request.stopping.max_tokens = tokens;
    request.stopping.ignore_eos = true;
    request.arrival = SystemClock().Now();
    std::vector<int32_t> all = request.prompt;
    auto recording = std::make_shared<Recording>();
    EXPECT_TRUE(engine_->Submit(std::move(request), Recording::Sink(recording)).ok());
    EXPECT_TRUE(recording->WaitDone().ok());
    for (const int32_t id : recording->outputs()[0].Ids()) all.push_back(id);
    return all;
  }
  std::optional<ShadowResult> Shadow(const std::vector<int32_t>& tokens, const std::string& skip) {
    Answer answer;
    engine_->Shadow({.tokens = tokens, .prompt_tokens = 20, .skip = *ParseSkipSet(skip, layers_)},
                    answer.Take());
    return answer.Wait();
  }

  int layers_ = 0;
  EnginePtr engine_;
};

TEST_F(ShadowTest, TheFullModelIsExactlyItself) {
  const auto result = Shadow(Generate("none", 1, 30), "none");
  ASSERT_TRUE(result);
  ASSERT_EQ(result->tokens.size(), 30);
  double nll = 0;
  for (const quality::TokenOutcome& token : result->tokens) {
    EXPECT_EQ(token.kl, 0);
    EXPECT_TRUE(token.agrees);
    nll += token.nll;
  }
  EXPECT_EQ(nll, result->full_nll);
}

TEST_F(ShadowTest, ALevelIsFurtherTheMoreItSkips) {
  const std::vector<int32_t> tokens = Generate("attn:last=50%", 2, 40);
  double before = 0;
  for (const char* skip : {"attn:last=25%", "attn:last=50%", "attn:0-11"}) {
    const auto result = Shadow(tokens, skip);
    ASSERT_TRUE(result);
    ASSERT_EQ(result->tokens.size(), 40);
    double kl = 0;
    for (const quality::TokenOutcome& token : result->tokens) {
      EXPECT_GE(token.kl, 0);
      EXPECT_GT(token.confidence, 0);
      EXPECT_LE(token.confidence, 1);
      EXPECT_EQ(token.correct, token.nll <= -std::log(token.confidence) + 1e-6);
      kl += token.kl;
    }
    EXPECT_GT(kl, before) << skip;
    before = kl;
  }
}

// The distributions are those that were served: log-probabilities to the bit.
TEST_F(ShadowTest, ScoresWhatWasServed) {
  const std::string skip = "attn:last=50%";
  EngineRequest request{
      .id = "served", .prompt = {5, 6, 7, 8}, .skip = *ParseSkipSet(skip, layers_)};
  request.stopping.max_tokens = 24;
  request.stopping.ignore_eos = true;
  request.output.logprobs = 0;
  request.output.token_texts = true;
  request.arrival = SystemClock().Now();
  std::vector<int32_t> tokens = request.prompt;
  auto recording = std::make_shared<Recording>();
  ASSERT_TRUE(engine_->Submit(std::move(request), Recording::Sink(recording)).ok());
  ASSERT_TRUE(recording->WaitDone().ok());
  for (const int32_t id : recording->outputs()[0].Ids()) tokens.push_back(id);
  Answer answer;
  engine_->Shadow({.tokens = tokens, .prompt_tokens = 4, .skip = *ParseSkipSet(skip, layers_)},
                  answer.Take());
  const auto result = answer.Wait();
  ASSERT_TRUE(result);
  for (size_t i = 0; i < result->tokens.size(); ++i) {
    EXPECT_EQ(-result->tokens[i].nll, *recording->outputs()[0].tokens[i].token.logprob) << i;
  }
}

TEST_F(ShadowTest, OthersGetTheSameBesideShadows) {
  const std::vector<int32_t> alone = Generate("attn:last=25%", 7, 40);
  std::vector<std::unique_ptr<Answer>> answers;
  for (int i = 0; i < 10; ++i) {
    answers.push_back(std::make_unique<Answer>());
    engine_->Shadow({.tokens = alone, .prompt_tokens = 20, .skip = *ParseSkipSet("mlp:3", layers_)},
                    answers.back()->Take());
  }
  EXPECT_EQ(Generate("attn:last=25%", 7, 40), alone);
  for (const auto& answer : answers) EXPECT_TRUE(answer->Wait());
}

TEST(ShadowFakeTest, ADeviceErrorOrTheEndDropsThem) {
  FakeEngine failing(FakeEngine::Options(), {.fail_at_step = 1});
  Answer first, second;
  failing->Shadow(
      {.tokens = {1, 2, 3, 4}, .prompt_tokens = 2, .skip = SkipSet(FakeEngine::kLayers)},
      first.Take());
  EXPECT_FALSE(first.Wait());
  failing->Shadow(
      {.tokens = {1, 2, 3, 4}, .prompt_tokens = 2, .skip = SkipSet(FakeEngine::kLayers)},
      second.Take());
  EXPECT_FALSE(second.Wait());
  std::vector<std::unique_ptr<Answer>> answers;
  {
    FakeEngine ending(FakeEngine::Options());
    for (int i = 0; i < 50; ++i) {
      answers.push_back(std::make_unique<Answer>());
      ending->Shadow({.tokens = std::vector<int32_t>(60, 1),
                      .prompt_tokens = 2,
                      .skip = SkipSet(FakeEngine::kLayers)},
                     answers.back()->Take());
    }
  }
  for (const auto& answer : answers) answer->Wait();  // each is told
}

TEST(ShadowFakeTest, ADrainWaitsForNoneAndEndsAll) {
  FakeEngine engine(FakeEngine::Options());
  const auto shadow = [&](Answer& answer) {
    engine->Shadow({.tokens = std::vector<int32_t>(60, 1),
                    .prompt_tokens = 2,
                    .skip = SkipSet(FakeEngine::kLayers)},
                   answer.Take());
  };
  std::vector<std::unique_ptr<Answer>> answers;
  for (int i = 0; i < 60; ++i) shadow(*answers.emplace_back(std::make_unique<Answer>()));
  EXPECT_TRUE(engine->Drain(kNever));
  for (const auto& answer : answers) EXPECT_EQ(answer->calls(), 1);
  Answer late;
  shadow(late);
  EXPECT_FALSE(late.Wait());
}

}  // namespace
}  // namespace skipstone
