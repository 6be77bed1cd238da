// Every stage of a backend against plain double-precision loops: one body for all backends. A
// backend joins by including this file in one test file and instantiating the suite.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "tests/engine/cpu/stage_driver.h"
#include "tests/engine/cpu/stage_model.h"
#include "tests/engine/cpu/stage_reference.h"

namespace skipstone {

// A backend, and what of the suite it serves.
struct StageCase {
  std::string name;
  // Null: the test is skipped, because the device is not there.
  std::function<std::unique_ptr<Backend>(const ModelShape& shape)> make_backend;
  std::function<double(DType type)> tolerance;  // of a log-probability
  std::vector<DType> types;                     // the first is what most tests use
  ModelShape shape;
  std::vector<std::array<int, 3>> heads;  // {head_dim, heads, kv_heads}
  std::vector<int> hidden;
  std::vector<int> page_tokens = {1, 4, 16, 128};
};

inline StepLimits SmallLimits() {
  return {
      .max_rows = 160, .max_logits_rows = 160, .max_slots = 4, .page_tokens = 16, .num_pages = 72};
}

inline int32_t TokenAt(int slot, int position) { return (slot * 31 + position * 7 + 3) % 60; }

// A prompt of `count` rows; the last `logits` of them need logits and come first.
inline void AddRows(int slot, int first, int count, int logits, StageStep& step) {
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
  void SetUp() override {
    if (!GetParam().make_backend) GTEST_SKIP() << "no device";
  }

  ModelShape Shape() const { return GetParam().shape; }
  DType Type() const { return GetParam().types[0]; }
  double Tolerance() const { return GetParam().tolerance(type_); }

  void Start(const ModelShape& shape, DType type, const StepLimits& limits = SmallLimits(),
             const std::vector<StageMapForm>& maps = {}) {
    model_ = std::make_unique<StageModel>(shape, type);
    model_->AddMaps(maps);
    reference_ = std::make_unique<StageReference>(*model_);
    type_ = type;
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
        ASSERT_NEAR(token.logprob, expected[i][token.id], Tolerance())
            << "logits row " << i << " token " << token.id;
      }
      const int reference = step.reference ? step.reference(static_cast<int>(i)) : -1;
      const double kl = reference < 0 ? 0 : Divergence(expected[reference], expected[i]);
      ASSERT_NEAR(results[i].kl, kl, Tolerance()) << "logits row " << i << " from " << reference;
    }
  }

  // In nats, of log-probabilities.
  static double Divergence(const std::vector<double>& p, const std::vector<double>& q) {
    double sum = 0;
    for (size_t i = 0; i < p.size(); ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
    return sum;
  }

  // Four rows of each slot under the map of its number in place of attention 0, then of MLP 1; the
  // last slot has none. Only the last row of each needs logits, so the others stop at layer 1.
  void CheckMaps(const ModelShape& shape, DType type, const std::vector<StageMapForm>& forms,
                 bool index_lists = false, int count = 4) {
    const int maps = static_cast<int>(forms.size());
    StepLimits limits = SmallLimits();
    limits.max_slots = maps + 1;
    Start(shape, type, limits, forms);
    for (const int first : {0, count}) {
      StageStep step;
      step.index_lists = index_lists;
      for (int slot = 0; slot <= maps; ++slot) AddRows(slot, first, count, 1, step);
      step.use = [rows = step.rows, maps](int r, int layer) {
        const StageRow& row = rows[r];
        const bool lives = layer == 0 || row.logits;
        const int map = lives && row.slot < maps ? row.slot : -1;
        if (layer == 0) return StageUse{map < 0, map < 0, true, map, -1};
        return StageUse{true, lives, lives && map < 0, -1, map};
      };
      Check(step);
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

  // Prompts in chunks, then decode rows, of slots with windows that differ and of one without. At
  // the end slot 0 is at 168, with holes in both layers.
  void CheckWindows(const ModelShape& shape, const StepLimits& limits) {
    Start(shape, Type(), limits);
    const auto check = [&](std::initializer_list<std::array<int, 3>> rows) {
      StageStep step;
      step.window = [](int slot, int layer) {
        constexpr int kWindows[4][2] = {{40, 16}, {0, 24}, {0, 0}, {16, 0}};
        return kWindows[slot][layer];
      };
      for (const auto& [slot, first, count] : rows) {
        AddRows(slot, first, count, std::min(count, 24), step);
      }
      Check(step);
    };
    check({{0, 0, 90}, {1, 0, 30}});
    check({{0, 90, 75}, {2, 0, 20}, {3, 0, 60}});
    check({{1, 30, 35}, {0, 165, 1}, {3, 60, 5}});
    for (int i = 0; i < 3; ++i)
      check({{3, 65 + i, 1}, {2, 20 + i, 1}, {0, 166 + i, 1}, {1, 65 + i, 1}});
  }

  DType type_ = DType::kF32;
  std::unique_ptr<StageModel> model_;
  std::unique_ptr<StageReference> reference_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<StageDriver> driver_;
};

TEST_P(BackendStagesTest, EmbedsAndProjectsWithoutLayers) {
  ModelShape shape = Shape();
  shape.num_layers = 1;
  Start(shape, Type());
  StageStep step;
  step.use = [](int, int) { return StageUse{false, false, false}; };
  AddRows(0, 0, 70, 70, step);
  Check(step);
}

TEST_P(BackendStagesTest, RunsTheMlpAlone) {
  Start(Shape(), Type());
  StageStep step;
  step.use = [](int, int) { return StageUse{false, false, true}; };
  AddRows(0, 0, 20, 20, step);
  Check(step);
}

TEST_P(BackendStagesTest, RunsAttentionAlone) {
  Start(Shape(), Type());
  StageStep step;
  step.use = [](int, int) { return StageUse{true, true, false}; };
  AddRows(0, 0, 150, 150, step);
  Check(step);
}

TEST_P(BackendStagesTest, ServesEveryWeightType) {
  for (const DType type : GetParam().types) {
    SCOPED_TRACE(NameOf(type));
    CheckPromptAndDecode(Shape(), type, SmallLimits());
  }
}

TEST_P(BackendStagesTest, ServesHeadSizesAndGroups) {
  for (const auto& [head_dim, num_heads, kv_heads] : GetParam().heads) {
    SCOPED_TRACE(testing::Message() << num_heads << " heads of " << head_dim);
    ModelShape shape = Shape();
    shape.head_dim = head_dim;
    shape.heads = num_heads;
    shape.kv_heads = kv_heads;
    CheckPromptAndDecode(shape, GetParam().types.back(), SmallLimits());
  }
}

TEST_P(BackendStagesTest, ServesInputsThatAreNoMultipleOfAVector) {
  for (const int hidden : GetParam().hidden) {
    SCOPED_TRACE(testing::Message() << "hidden " << hidden);
    ModelShape shape = Shape();
    shape.hidden = hidden;
    shape.ffn = hidden + (hidden % 8 == 0 ? 8 : 6);
    CheckPromptAndDecode(shape, DType::kF16, SmallLimits());
  }
}

TEST_P(BackendStagesTest, ServesEveryPageSize) {
  for (const int page_tokens : GetParam().page_tokens) {
    SCOPED_TRACE(testing::Message() << "page_tokens " << page_tokens);
    StepLimits limits = SmallLimits();
    limits.page_tokens = page_tokens;
    limits.num_pages = 112 / page_tokens + 8;
    CheckPromptAndDecode(Shape(), Type(), limits);
  }
}

// Longer than what one thread block or one key tile takes; chunks that begin anywhere.
TEST_P(BackendStagesTest, AttendsToLongContexts) {
  Start(Shape(), Type());
  for (const auto& [first, count] : {std::pair(0, 150), {150, 101}, {251, 130}}) {
    StageStep chunk;
    AddRows(0, first, count, 2, chunk);
    Check(chunk);
  }
  StageStep other;
  AddRows(1, 0, 9, 1, other);
  Check(other);
  for (int i = 0; i < 4; ++i) {
    StageStep decode;
    AddRows(0, 381 + i, 1, 1, decode);
    AddRows(1, 9 + i, 1, 1, decode);
    Check(decode);
  }
}

// More decode rows than small steps have.
TEST_P(BackendStagesTest, DecodesManySequences) {
  StepLimits limits = SmallLimits();
  limits.max_slots = 24;
  Start(Shape(), Type(), limits);
  for (int i = 0; i < 3; ++i) {
    StageStep step;
    for (int slot = 0; slot < 24; ++slot) AddRows(slot, 3 * i, slot % 2 == 0 ? 3 : 2, 1, step);
    Check(step);
    StageStep rest;
    for (int slot = 1; slot < 24; slot += 2) AddRows(slot, 3 * i + 2, 1, 1, rest);
    Check(rest);
  }
  StageStep decode;
  for (int slot = 0; slot < 24; ++slot) AddRows(slot, 9, 1, 1, decode);
  Check(decode);
}

TEST_P(BackendStagesTest, MixesRowListsOfDifferentSkips) {
  struct Case {
    bool index_lists;
    int rows;  // of each slot
  };
  for (const auto& [index_lists, count] : {Case{false, 12}, {true, 12}, {false, 3}, {true, 3}}) {
    SCOPED_TRACE(testing::Message() << count << (index_lists ? " rows by index" : " rows"));
    Start(Shape(), Type());
    StageStep step;
    step.index_lists = index_lists;
    for (int slot = 0; slot < 3; ++slot) AddRows(slot, 0, count, 1, step);
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

TEST_P(BackendStagesTest, AddsMapsOfEveryFormAndType) {
  const std::vector<StageMapForm> forms = {
      {.bias = true},
      {.scale = true},
      {.bias = true, .scale = true},
      {.rank = 1},
      {.bias = true, .rank = 3},
      {.bias = true, .scale = true, .rank = 40},
      {.full = true},
      {.bias = true, .scale = true, .full = true},
  };
  for (const DType type : GetParam().types) {
    for (const bool index_lists : {false, true}) {
      SCOPED_TRACE(testing::Message() << NameOf(type) << (index_lists ? " by index" : ""));
      CheckMaps(Shape(), type, forms, index_lists);
      CheckMaps(Shape(), type, forms, index_lists, 1);
    }
  }
}

TEST_P(BackendStagesTest, AddsMapsToInputsThatAreNoMultipleOfAVector) {
  const std::vector<StageMapForm> forms = {
      {.bias = true}, {.bias = true, .scale = true}, {.bias = true, .rank = 1}, {.full = true}};
  for (const int hidden : GetParam().hidden) {
    SCOPED_TRACE(testing::Message() << "hidden " << hidden);
    ModelShape shape = Shape();
    shape.hidden = hidden;
    shape.ffn = hidden + (hidden % 8 == 0 ? 8 : 6);
    CheckMaps(shape, DType::kF16, forms);
  }
}

TEST_P(BackendStagesTest, ARankMayExceedTheMlp) {
  ModelShape shape = Shape();
  shape.ffn = 16;
  CheckMaps(shape, Type(), {{.rank = shape.hidden}, {.rank = 40}});
}

// A prompt of 150 rows under each of two maps.
TEST_P(BackendStagesTest, AddsMapsToManyRows) {
  StepLimits limits = SmallLimits();
  limits.max_rows = 300;
  limits.max_logits_rows = 300;
  Start(Shape(), Type(), limits, {{.bias = true, .scale = true, .rank = 3}, {.full = true}});
  StageStep step;
  for (int slot = 0; slot < 2; ++slot) AddRows(slot, 0, 150, slot == 0 ? 150 : 2, step);
  step.use = [rows = step.rows](int r, int layer) {
    return layer == 0 ? StageUse{false, false, true, rows[r].slot, -1} : StageUse{};
  };
  Check(step);
}

TEST_P(BackendStagesTest, ReadsAndWritesTheResidual) {
  Start(Shape(), Type());
  StageStep written;
  written.use = [](int, int) { return StageUse{false, false, false}; };
  AddRows(0, 0, 9, 9, written);
  StageStep embedded = written;
  for (StageRow& row : embedded.rows) row.token = (row.token + 5) % 60;
  const int hidden = Shape().hidden;
  const auto embedding = [&](const StageRow& row, int i) {
    return static_cast<float>(model_->At(model_->embedding, row.token, i));
  };
  const auto stages = [&](const StepInput&, const Weights& weights, Backend& backend) {
    backend.Embed(weights.embedding);
    std::vector<float> states(3 * hidden);
    backend.ReadResidual(4, 3, states.data());
    for (int i = 0; i < 3 * hidden; ++i) {
      ASSERT_EQ(states[i], embedding(embedded.rows[4 + i / hidden], i % hidden));
    }
    std::vector<float> others;
    for (int i = 0; i < 9 * hidden; ++i) {
      others.push_back(embedding(written.rows[i / hidden], i % hidden));
    }
    backend.WriteResidual(0, 2, others.data());
    backend.WriteResidual(2, 7, others.data() + 2 * hidden);
    backend.Logits(weights.final_norm, weights.head);
  };
  const std::vector<LogitsResult> results = driver_->Run(embedded, stages);
  const std::vector<std::vector<double>> expected = reference_->Run(written);
  for (size_t i = 0; i < results.size(); ++i) {
    for (const TokenLogprob& token : results[i].top) {
      ASSERT_NEAR(token.logprob, expected[i][token.id], Tolerance()) << "row " << i;
    }
  }
}

// Slot 1 does without attention 1; its rows are compared with slot 0's of the same positions.
TEST_P(BackendStagesTest, ComparesRowsWithTheirReferences) {
  for (const int count : {1, 40, 75}) {
    SCOPED_TRACE(testing::Message() << count << " rows");
    Start(Shape(), Type());
    StageStep step;
    for (int slot = 0; slot < 2; ++slot) {
      for (int p = 0; p < count; ++p) step.rows.push_back({slot, p, TokenAt(0, p), true});
    }
    step.reference = [count](int row) { return row < count ? -1 : row - count; };
    step.use = [count](int r, int layer) {
      const bool attends = layer == 0 || r < count;
      return StageUse{attends, attends, true};
    };
    Check(step);
    // Without a difference there is none, to the bit.
    step.use = nullptr;
    for (const LogitsResult& result : driver_->Run(step)) EXPECT_EQ(result.kl, 0.0f);
  }
}

TEST_P(BackendStagesTest, ComparesManyRowsWithOneReference) {
  Start(Shape(), Type());
  StageStep step;
  AddRows(0, 0, 150, 150, step);
  step.reference = [](int row) { return row == 97 ? -1 : 97; };
  Check(step);
  // A row may be compared with itself, with a later row, and with one that is compared itself.
  step.reference = [](int row) { return row % 3 == 0 ? row : (row * 7 + 1) % 150; };
  Check(step);
  EXPECT_EQ(driver_->Run(step)[3].kl, 0.0f);
}

// Every position is a row: of the prompt that comes at once and of the one that comes behind it.
TEST_P(BackendStagesTest, SeesSinkAndWindowAlone) {
  for (const int window : {16, 24, 64, 72, 128}) {
    SCOPED_TRACE(testing::Message() << "window " << window);
    Start(Shape(), Type());
    for (const int first : {0, 150}) {
      StageStep step;
      step.use = [](int, int) { return StageUse{true, true, false}; };
      step.window = [window](int, int layer) { return layer == 0 ? window : 16; };
      AddRows(0, first, first == 0 ? 150 : 61, first == 0 ? 150 : 61, step);
      Check(step);
    }
  }
}

TEST_P(BackendStagesTest, ServesWindowsOfEveryPageSize) {
  for (const int page_tokens : GetParam().page_tokens) {
    SCOPED_TRACE(testing::Message() << "page_tokens " << page_tokens);
    StepLimits limits = SmallLimits();
    limits.page_tokens = page_tokens;
    limits.num_pages = 700 / page_tokens + 16;
    CheckWindows(Shape(), limits);
  }
}

TEST_P(BackendStagesTest, ServesWindowsOfHeadSizesAndGroups) {
  for (const auto& [head_dim, num_heads, kv_heads] : GetParam().heads) {
    SCOPED_TRACE(testing::Message() << num_heads << " heads of " << head_dim);
    ModelShape shape = Shape();
    shape.head_dim = head_dim;
    shape.heads = num_heads;
    shape.kv_heads = kv_heads;
    CheckWindows(shape, SmallLimits());
  }
}

// Rows without logits go as deep as the sink, or a window of a row that goes deeper, needs them: in
// the middle layer rows of one slot follow each other in a list, their positions jump, and between
// them there are no pages.
TEST_P(BackendStagesTest, RowsOfAListMayJumpFromSinkToWindow) {
  constexpr int kWindows[] = {0, 24, 16};
  const int page_tokens = SmallLimits().page_tokens;
  ModelShape shape = Shape();
  shape.num_layers = 3;
  for (const int count : {150, 117}) {
    SCOPED_TRACE(testing::Message() << count << " rows");
    Start(shape, Type());
    StageStep prompt;
    prompt.window = [&](int, int layer) { return kWindows[layer]; };
    AddRows(0, 0, count, 2, prompt);
    // The first row behind the sink that stores K and V in each layer; none goes beyond the last.
    std::array<int, 4> first = {0, 0, 0, count};
    first[2] = (count - 2 - kWindows[2] + 1) / page_tokens * page_tokens;
    first[1] = (first[2] - kWindows[1] + 1) / page_tokens * page_tokens;
    prompt.use = [&](int r, int layer) {
      const StageRow& row = prompt.rows[r];
      const auto enters = [&](int l) {
        return row.logits ||
               (l < 3 && row.position / page_tokens <= (kSinkTokens - 1) / page_tokens) ||
               row.position >= first[l];
      };
      const bool runs = enters(layer + 1);
      return StageUse{enters(layer), runs, runs};
    };
    Check(prompt);
    for (int i = 0; i < 3; ++i) {
      StageStep decode;
      decode.window = prompt.window;
      AddRows(0, count + i, 1, 1, decode);
      Check(decode);
    }
  }
}

TEST_P(BackendStagesTest, ReadsSharedPages) {
  Start(Shape(), Type());
  StageStep prompt;
  AddRows(0, 0, 32, 1, prompt);
  Check(prompt);
  // Slot 1 has the pages of slot 0, and then one of its own.
  StageStep next;
  next.rows = {{0, 32, 5, true}, {1, 32, 5, true}};
  for (int layer = 0; layer < 2; ++layer) {
    for (int block = 0; block < 2; ++block) {
      driver_->SetPage(1, layer, block, driver_->PageOf(0, layer, block));
    }
  }
  const std::vector<LogitsResult> results = driver_->Run(next);
  ASSERT_EQ(results.size(), 2u);
  for (size_t i = 0; i < results[0].top.size(); ++i) {
    EXPECT_EQ(results[0].top[i].id, results[1].top[i].id);
    EXPECT_EQ(results[0].top[i].logprob, results[1].top[i].logprob);
  }
}

TEST_P(BackendStagesTest, FeedsTheSampledTokenBack) {
  Start(Shape(), Type());
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
    EXPECT_NEAR(token.logprob, expected[token.id], Tolerance());
  }
}

}  // namespace skipstone
