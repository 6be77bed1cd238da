// The demo model's golden outputs (float64, an independent implementation): one case of every skip
// set, all in one step, with row liveness, in whatever row lists come of it.
#include <gtest/gtest.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/cuda/cuda_backend.h"
#include "engine/model/config.h"
#include "engine/model/llama.h"
#include "engine/model/safetensors.h"
#include "engine/model/weights.h"
#include "engine/schedule/row_lists.h"
#include "engine/skip/skip_grammar.h"
#include "tests/support/goldens.h"

namespace skipstone {
namespace {

constexpr int kPageTokens = 16;
// bf16 activations against float64.
constexpr double kLogprobTolerance = 0.05;
constexpr double kTie = 0.05;

// Scores the greedy tokens of the cases, given.
class GoldenPlan {
 public:
  GoldenPlan(const nlohmann::json& cases, int num_layers) {
    for (const nlohmann::json& golden : cases) {
      // Prompts of one skip set follow each other.
      if (cases_.empty() || golden["skip"] != cases_.back()["skip"]) Add(golden, num_layers);
    }
  }

  const StepPlan& plan() const { return plan_; }
  const std::vector<nlohmann::json>& cases() const { return cases_; }
  int64_t pages() const { return next_page_; }

 private:
  void Add(const nlohmann::json& golden, int num_layers) {
    const auto prompt = golden["prompt_ids"].get<std::vector<int32_t>>();
    const auto greedy = golden["greedy_ids"].get<std::vector<int32_t>>();
    const SkipSet skip = *ParseSkipSet(golden["skip"].get<std::string>(), num_layers);
    SequenceChunk chunk;
    chunk.slot = static_cast<int32_t>(cases_.size());
    chunk.set = plan_.SetOf(skip);
    chunk.num_rows = static_cast<int32_t>(prompt.size() + greedy.size()) - 1;
    chunk.first_token = static_cast<int32_t>(plan_.tokens.size());
    chunk.logits_rows = static_cast<int32_t>(greedy.size());
    chunk.prompt_top_n = 2;
    chunk.last_row_has_target = true;
    plan_.chunks.push_back(chunk);
    plan_.tokens.insert(plan_.tokens.end(), prompt.begin(), prompt.end());
    plan_.tokens.insert(plan_.tokens.end(), greedy.begin(), greedy.end());
    plan_.num_rows += chunk.num_rows;
    for (int layer = 0; layer < num_layers; ++layer) {
      if (!skip.KeepsAttention(layer)) continue;
      for (int block = 0; block * kPageTokens < chunk.num_rows; ++block) {
        plan_.page_updates.push_back({chunk.slot, layer, block, next_page_++});
      }
    }
    cases_.push_back(golden);
  }

  StepPlan plan_;
  std::vector<nlohmann::json> cases_;
  int32_t next_page_ = 0;
};

// Checks the rows of one case, which begin at `row` of the plan's order.
void CheckCase(const nlohmann::json& golden, const std::vector<LogitsResult>& results, size_t row,
               double& worst) {
  SCOPED_TRACE(golden["skip"].get<std::string>());
  for (size_t i = 0; i < golden["greedy_ids"].size(); ++i) {
    const LogitsResult& result = results[row + i];
    ASSERT_EQ(result.top.size(), 2u);
    ASSERT_EQ(result.target.id, golden["greedy_ids"][i].get<int>());
    const double expected = golden["greedy_logprobs"][i];
    EXPECT_NEAR(result.target.logprob, expected, kLogprobTolerance) << "token " << i;
    worst = std::max(worst, std::abs(result.target.logprob - expected));
    if (result.top[0].id != result.target.id) {
      EXPECT_LT(result.top[0].logprob - result.target.logprob, kTie) << "token " << i;
    }
  }
}

TEST(CudaGoldenTest, EverySkipSetOfTheDemoModelInOneStep) {
  if (!HasCudaDevice()) GTEST_SKIP() << "no device";
  const nlohmann::json goldens = ReadGoldens("tests/golden/demo.json");
  const std::string model = goldens["model"];
  const ModelConfig config = *ReadModelConfig(model);
  const Safetensors file = *Safetensors::OpenDirectory(model);
  const ModelTensors tensors = *FindTensors(config, file);
  const GoldenPlan golden(goldens["cases"], config.shape.num_layers);
  const auto backend = *MakeCudaBackend(config.shape);
  const Weights weights = *LoadWeights(tensors, *backend);
  ASSERT_TRUE(backend
                  ->Allocate({.max_rows = golden.plan().num_rows,
                              .max_logits_rows = golden.plan().num_rows,
                              .max_slots = static_cast<int>(golden.cases().size()),
                              .page_tokens = kPageTokens,
                              .num_pages = golden.pages()})
                  .ok());
  RowLists lists(config.shape.num_layers, 16, /*liveness=*/true);
  lists.Build(golden.plan());
  const StepInput step = lists.input();
  backend->BeginStep(step);
  backend->Run([&] { Forward(step, weights, *backend); });
  backend->EndStep();
  std::vector<LogitsResult> in_row_order;
  ASSERT_TRUE(backend->WaitStep(&in_row_order).ok());
  std::vector<LogitsResult> results(in_row_order.size());
  for (size_t i = 0; i < results.size(); ++i) {
    results[lists.plan_order()[i]] = std::move(in_row_order[i]);
  }
  double worst = 0;
  size_t row = 0;
  for (const nlohmann::json& c : golden.cases()) {
    CheckCase(c, results, row, worst);
    row += c["greedy_ids"].size();
  }
  std::printf("largest difference of a log-probability: %.4f\n", worst);
}

}  // namespace
}  // namespace skipstone
