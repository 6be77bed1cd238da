// Every stage of a backend against plain double-precision loops. The suite is parameterised by a
// backend factory: a device backend joins by instantiating it.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "engine/cpu/cpu_backend.h"
#include "tests/engine/cpu/stage_driver.h"
#include "tests/engine/cpu/stage_model.h"
#include "tests/engine/cpu/stage_reference.h"

namespace skipstone {
namespace {

using BackendFactory = std::function<std::unique_ptr<Backend>(const ModelShape& shape)>;

struct StageCase {
  std::string name;
  BackendFactory make_backend;
  double tolerance;  // of a log-probability
};

std::unique_ptr<Backend> MakeCpu(const ModelShape& shape, int threads) {
  auto backend = MakeCpuBackend(shape, {.threads = threads, .memory_bytes = int64_t{4} << 30});
  SKIPSTONE_CHECK(backend.ok());
  return *std::move(backend);
}

ModelShape SmallShape() {
  return {.num_layers = 2,
          .hidden = 48,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 16,
          .ffn = 84,
          .vocab = 61,
          .max_context = 512};
}

StepLimits SmallLimits() {
  return {
      .max_rows = 160, .max_logits_rows = 160, .max_slots = 4, .page_tokens = 16, .num_pages = 200};
}

int32_t TokenAt(int slot, int position) { return (slot * 31 + position * 7 + 3) % 60; }

// A prompt of `count` rows; the last `logits` of them need logits and come first.
void AddRows(int slot, int first, int count, int logits, StageStep& step) {
  std::vector<StageRow> front;
  std::vector<StageRow> back;
  for (int p = first; p < first + count; ++p) {
    const bool wants = p >= first + count - logits;
    (wants ? front : back).push_back({slot, p, TokenAt(slot, p), wants});
  }
  auto at = step.rows.begin();
  while (at != step.rows.end() && at->logits) ++at;
  step.rows.insert(at, front.begin(), front.end());
  step.rows.insert(step.rows.end(), back.begin(), back.end());
}

class BackendStagesTest : public testing::TestWithParam<StageCase> {
 protected:
  void Start(const ModelShape& shape, DType type, const StepLimits& limits = SmallLimits()) {
    model_ = std::make_unique<StageModel>(shape, type);
    reference_ = std::make_unique<StageReference>(*model_);
    backend_ = GetParam().make_backend(shape);
    driver_ = std::make_unique<StageDriver>(*model_, *backend_, limits);
    driver_->Poison();
  }

  // Runs the step on both and compares all log-probabilities.
  void Check(const StageStep& step) {
    const std::vector<std::vector<double>> expected = reference_->Run(step);
    const std::vector<LogitsResult> results = driver_->Run(step);
    ASSERT_EQ(results.size(), expected.size());
    for (size_t i = 0; i < results.size(); ++i) {
      ASSERT_EQ(results[i].top.size(), expected[i].size());
      for (const TokenLogprob& token : results[i].top) {
        ASSERT_NEAR(token.logprob, expected[i][token.id], GetParam().tolerance)
            << "logits row " << i << " token " << token.id;
      }
    }
  }

  void CheckPromptAndDecode(const ModelShape& shape, DType type, const StepLimits& limits) {
    Start(shape, type, limits);
    StageStep prompt;
    AddRows(0, 0, 37, 5, prompt);
    AddRows(1, 0, 9, 9, prompt);
    Check(prompt);
    for (int i = 0; i < 3; ++i) {
      StageStep decode;
      AddRows(0, 37 + i, 1, 1, decode);
      AddRows(1, 9 + i, 1, 1, decode);
      Check(decode);
    }
  }

  std::unique_ptr<StageModel> model_;
  std::unique_ptr<StageReference> reference_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<StageDriver> driver_;
};

TEST_P(BackendStagesTest, EmbedsAndProjectsWithoutLayers) {
  ModelShape shape = SmallShape();
  shape.num_layers = 1;
  Start(shape, DType::kF32);
  StageStep step;
  step.use = [](int, int) { return StageUse{false, false, false}; };
  AddRows(0, 0, 70, 70, step);
  Check(step);
}

TEST_P(BackendStagesTest, RunsTheMlpAlone) {
  Start(SmallShape(), DType::kF32);
  StageStep step;
  step.use = [](int, int) { return StageUse{false, false, true}; };
  AddRows(0, 0, 20, 20, step);
  Check(step);
}

TEST_P(BackendStagesTest, RunsAttentionAlone) {
  Start(SmallShape(), DType::kF32);
  StageStep step;
  step.use = [](int, int) { return StageUse{true, true, false}; };
  AddRows(0, 0, 150, 150, step);
  Check(step);
}

TEST_P(BackendStagesTest, ServesEveryWeightType) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    SCOPED_TRACE(NameOf(type));
    CheckPromptAndDecode(SmallShape(), type, SmallLimits());
  }
}

TEST_P(BackendStagesTest, ServesHeadSizesAndGroups) {
  const int heads[][3] = {{8, 4, 4}, {16, 6, 3}, {24, 4, 1}, {40, 2, 2}, {64, 8, 1}, {128, 2, 1}};
  for (const auto& [head_dim, num_heads, kv_heads] : heads) {
    SCOPED_TRACE(testing::Message() << num_heads << " heads of " << head_dim);
    ModelShape shape = SmallShape();
    shape.head_dim = head_dim;
    shape.heads = num_heads;
    shape.kv_heads = kv_heads;
    CheckPromptAndDecode(shape, DType::kBF16, SmallLimits());
  }
}

TEST_P(BackendStagesTest, ServesInputsThatAreNoMultipleOfAVector) {
  for (const int hidden : {1, 3, 17, 31, 50}) {
    SCOPED_TRACE(testing::Message() << "hidden " << hidden);
    ModelShape shape = SmallShape();
    shape.hidden = hidden;
    shape.ffn = hidden + 6;
    CheckPromptAndDecode(shape, DType::kF16, SmallLimits());
  }
}

TEST_P(BackendStagesTest, ServesEveryPageSize) {
  for (const int page_tokens : {1, 4, 16, 128}) {
    SCOPED_TRACE(testing::Message() << "page_tokens " << page_tokens);
    StepLimits limits = SmallLimits();
    limits.page_tokens = page_tokens;
    CheckPromptAndDecode(SmallShape(), DType::kF32, limits);
  }
}

TEST_P(BackendStagesTest, MixesRowListsOfDifferentSkips) {
  for (const bool index_lists : {false, true}) {
    Start(SmallShape(), DType::kF32);
    StageStep step;
    step.index_lists = index_lists;
    AddRows(0, 0, 12, 1, step);
    AddRows(1, 0, 12, 1, step);
    AddRows(2, 0, 12, 1, step);
    // Slot 0 skips attention 1, slot 1 MLP 0; rows of slot 2 without logits stop at K/V of layer 1.
    step.use = [rows = step.rows](int r, int layer) {
      const StageRow& row = rows[r];
      if (row.slot == 0) return StageUse{layer == 0, layer == 0, true};
      if (row.slot == 1) return StageUse{true, true, layer == 1};
      const bool lives = layer == 0 || row.logits;
      return StageUse{true, lives, lives};
    };
    Check(step);
  }
}

TEST_P(BackendStagesTest, ReadsSharedPagesAndCopies) {
  Start(SmallShape(), DType::kF32);
  StageStep prompt;
  AddRows(0, 0, 32, 1, prompt);
  Check(prompt);
  // Slot 1 is a copy of slot 0: its first block shared, its second copied.
  StageStep next;
  next.rows = {{0, 32, 5, true}, {1, 32, 5, true}};
  for (int layer = 0; layer < 2; ++layer) {
    driver_->SetPage(1, layer, 0, driver_->PageOf(0, layer, 0));
    const int32_t copy = driver_->NewPage();
    driver_->copies.push_back({driver_->PageOf(0, layer, 1), copy});
    driver_->SetPage(1, layer, 1, copy);
  }
  const std::vector<LogitsResult> results = driver_->Run(next);
  ASSERT_EQ(results.size(), 2u);
  for (size_t i = 0; i < results[0].top.size(); ++i) {
    EXPECT_EQ(results[0].top[i].id, results[1].top[i].id);
    EXPECT_EQ(results[0].top[i].logprob, results[1].top[i].logprob);
  }
}

TEST_P(BackendStagesTest, FeedsTheSampledTokenBack) {
  Start(SmallShape(), DType::kF32);
  SamplingParams greedy;
  greedy.temperature = 0;
  const std::vector<int32_t> prompt_tokens = {3, 10, 17};
  StageStep prompt;
  AddRows(0, 0, 3, 1, prompt);
  prompt.sample = true;
  prompt.slot_starts = {{.slot = 0, .sampling = &greedy, .prompt = prompt_tokens}};
  const int32_t sampled = driver_->Run(prompt)[0].sampled.id;
  reference_->Run(prompt);
  StageStep given;
  given.rows = {{0, 3, sampled, true}};
  const std::vector<double> expected = reference_->Run(given)[0];
  StageStep fed_back;
  fed_back.rows = {{0, 3, kSampledToken, true}};
  const std::vector<LogitsResult> results = driver_->Run(fed_back);
  for (const TokenLogprob& token : results[0].top) {
    EXPECT_NEAR(token.logprob, expected[token.id], GetParam().tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cpu, BackendStagesTest,
    testing::Values(StageCase{"OneThread", [](const ModelShape& s) { return MakeCpu(s, 1); }, 2e-4},
                    StageCase{"ThreeThreads", [](const ModelShape& s) { return MakeCpu(s, 3); },
                              2e-4}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace skipstone
