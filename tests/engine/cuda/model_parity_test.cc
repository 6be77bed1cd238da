// Whole models, teacher-forced: the CUDA backend against the CPU backend on the same weights.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "engine/cpu/cpu_backend.h"
#include "engine/cuda/cuda_backend.h"
#include "tests/engine/cpu/stage_driver.h"
#include "tests/engine/cpu/stage_model.h"

namespace skipstone {
namespace {

struct ParityCase {
  std::string name;
  int head_dim;
  int heads;
  int kv_heads;
  int skipped;  // of the deepest attention sublayers, by one of the two sequences
};

constexpr int kLayers = 4;
constexpr int kPrompt = 70;
constexpr int kDecode = 30;
constexpr StepLimits kLimits{.max_rows = 160,
                             .max_logits_rows = 64,
                             .max_slots = 2,
                             .page_tokens = 16,
                             .num_pages = 2 * kLayers * 8};

ModelShape ShapeOf(const ParityCase& c) {
  return {.num_layers = kLayers,
          .hidden = 128,
          .heads = c.heads,
          .kv_heads = c.kv_heads,
          .head_dim = c.head_dim,
          .ffn = 192,
          .vocab = 200,
          .max_context = 256};
}

int32_t TokenAt(int slot, int position) { return (slot * 57 + position * position * 13 + 5) % 199; }

// Two prompts, one with skipped sublayers and row liveness, then single rows.
std::vector<StageStep> StepsOf(const ParityCase& c) {
  std::vector<StageStep> steps(1 + kDecode);
  const int last_kept = kLayers - 1 - c.skipped;
  for (int slot = 0; slot < 2; ++slot) {
    for (int p = kPrompt - 20; p < kPrompt; ++p) {
      steps[0].rows.push_back({slot, p, TokenAt(slot, p), true});
    }
    for (int i = 0; i < kDecode; ++i) {
      steps[1 + i].rows.push_back({slot, kPrompt + i, TokenAt(slot, kPrompt + i), true});
    }
  }
  for (int slot = 0; slot < 2; ++slot) {
    for (int p = 0; p < kPrompt - 20; ++p) {
      steps[0].rows.push_back({slot, p, TokenAt(slot, p), false});
    }
  }
  for (StageStep& step : steps) {
    step.top_n = 2;
    step.use = [rows = step.rows, last_kept](int r, int layer) {
      const StageRow& row = rows[r];
      const int k = row.slot == 1 ? last_kept : kLayers - 1;
      if (row.logits) return StageUse{layer <= k, layer <= k, true};
      return StageUse{layer <= k, layer < k, layer < k};
    };
  }
  return steps;
}

// What 16-bit activations may do to models this narrow.
struct Bounds {
  DType type;
  double logprob;  // of the likeliest token
  double gap;      // between the two likeliest where they change places
  double equal;    // share of the positions with the same likeliest token
};
constexpr Bounds kBounds[] = {{DType::kF16, 0.03, 0.02, 0.97}, {DType::kBF16, 0.25, 0.1, 0.97}};

class ModelParityTest : public testing::TestWithParam<ParityCase> {
 protected:
  void Check(const Bounds& bounds) {
    const ParityCase& c = GetParam();
    const StageModel model(ShapeOf(c), bounds.type);
    const auto cpu = *MakeCpuBackend(model.shape, {.threads = 1, .memory_bytes = int64_t{1} << 30});
    const auto cuda = *MakeCudaBackend(model.shape);
    StageDriver on_cpu(model, *cpu, kLimits);
    StageDriver on_cuda(model, *cuda, kLimits);
    int positions = 0;
    int equal = 0;
    for (const StageStep& step : StepsOf(c)) {
      const std::vector<LogitsResult> expected = on_cpu.Run(step);
      const std::vector<LogitsResult> actual = on_cuda.Run(step);
      ASSERT_EQ(actual.size(), expected.size());
      for (size_t i = 0; i < actual.size(); ++i, ++positions) {
        EXPECT_NEAR(actual[i].top[0].logprob, expected[i].top[0].logprob, bounds.logprob);
        if (actual[i].top[0].id == expected[i].top[0].id) {
          ++equal;
        } else {
          EXPECT_LT(expected[i].top[0].logprob - expected[i].top[1].logprob, bounds.gap);
        }
      }
    }
    std::printf("%s %s: the likeliest token is equal at %d of %d positions\n", c.name.c_str(),
                NameOf(bounds.type), equal, positions);
    EXPECT_GE(equal, bounds.equal * positions);
  }
};

TEST_P(ModelParityTest, AgreesWithTheCpu) {
  if (!HasCudaDevice()) GTEST_SKIP() << "no device";
  for (const Bounds& bounds : kBounds) Check(bounds);
}

INSTANTIATE_TEST_SUITE_P(Models, ModelParityTest,
                         testing::Values(ParityCase{"Mha64", 64, 2, 2, 0},
                                         ParityCase{"Gqa64Skips2", 64, 4, 2, 2},
                                         ParityCase{"Mha128Skips1", 128, 1, 1, 1},
                                         ParityCase{"Gqa128", 128, 2, 1, 0}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace skipstone
