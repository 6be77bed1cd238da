// The runner on a device: what the warm-up recorded serves every skip set, and nothing is recorded
// later.
#include "engine/llama_runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "base/check.h"
#include "engine/cpu/cpu_backend.h"
#include "engine/cuda/cuda_backend.h"
#include "engine/skip/skip_grammar.h"

namespace skipstone {
namespace {

constexpr char kModel[] =
    "synthetic:layers=4,hidden=64,heads=1,ffn=96,vocab=61,context=64,type=f16";
constexpr int kSlots = 12;
constexpr int kSteps = 3;
constexpr StepLimits kLimits{.max_rows = 40,
                             .max_logits_rows = 20,
                             .max_slots = kSlots,
                             .page_tokens = 4,
                             .num_pages = kSlots * 4};

// Two maps of the last two layers' attention: a vector and a product.
void AddMaps(LoadedModel& model) {
  const int hidden = model.config.shape.hidden;
  static const std::vector<float> vector(hidden, 0.4f);
  static const std::vector<uint16_t> matrix(2 * hidden * 16, 0x2400);  // 2^-6
  const auto add = [&](const Tensor& tensor) { return *model.backend->AddWeights({&tensor, 1}); };
  for (const int layer : {2, 3}) {
    const Tensor row{vector.data(), DType::kF32, 1, hidden};
    model.weights.layers[layer].attention_maps = {
        {.bias = add(row), .scale = add(row)},
        {.bias = add(row),
         .down = add({matrix.data(), DType::kF16, 16, hidden}),
         .up = add({matrix.data(), DType::kF16, hidden, 16})}};
  }
  model.maps.resize(4);
  model.maps[2].attention = model.maps[3].attention = {1, 2};
}

// attn:last=2 under map 1 or 2; 0: the identity.
SkipSet Mapped(uint64_t map) {
  SkipSet skip = *ParseSkipSet("attn:last=2", 4);
  for (const int layer : {2, 3}) {
    if (map > 0) skip.MapAttention(layer, map);
  }
  return skip;
}

std::unique_ptr<ModelRunner> Runner(std::unique_ptr<Backend> backend,
                                    const std::vector<SkipSet>& levels) {
  const auto spec = *ParseSyntheticModel(kModel);
  LoadedModel model;
  model.config = spec.config;
  model.backend = std::move(backend);
  model.synthetic = *SyntheticWeights::Make(spec, 1);
  model.weights = *LoadWeights(model.synthetic->tensors(), *model.backend);
  AddMaps(model);
  auto runner = MakeLlamaRunner(std::move(model), {.limits = kLimits, .levels = levels});
  SKIPSTONE_CHECK(runner.ok());
  return *std::move(runner);
}

// One row per slot and step: slot i has skips[i % skips.size()].
std::vector<LogitsResult> Decode(ModelRunner& runner, const std::vector<SkipSet>& skips,
                                 int slots) {
  const SamplingParams greedy{.temperature = 0};
  std::vector<LogitsResult> all;
  for (int position = 0; position < kSteps; ++position) {
    StepPlan plan;
    for (int32_t slot = 0; slot < slots; ++slot) {
      const SkipSet& skip = skips[slot % skips.size()];
      plan.chunks.push_back({.sequence = static_cast<SequenceId>(slot),
                             .slot = slot,
                             .set = plan.SetOf(skip),
                             .first_position = position,
                             .num_rows = 1,
                             .first_token = slot,
                             .logits_rows = 1,
                             .samples = true,
                             .sample_top_n = 2});
      plan.tokens.push_back((7 * slot + 11 * position) % 61);
      ++plan.num_rows;
      if (position > 0) continue;
      plan.slot_starts.push_back({.slot = slot, .sampling = &greedy});
      for (int32_t layer = 0; layer < skip.num_layers(); ++layer) {
        if (skip.KeepsAttention(layer))
          plan.page_updates.push_back({slot, layer, 0, 4 * slot + layer});
      }
    }
    runner.Launch(plan);
    const StepResults results = runner.Collect();
    EXPECT_TRUE(results.status.ok()) << results.status;
    all.insert(all.end(), results.logits.begin(), results.logits.end());
  }
  return all;
}

// Of the likeliest tokens' log-probabilities.
float LargestDifference(const std::vector<LogitsResult>& a, const std::vector<LogitsResult>& b) {
  float largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(a[i].top[0].logprob - b[i].top[0].logprob));
  }
  return largest;
}

TEST(CudaLlamaRunnerTest, RecordedStepsServeEverySet) {
  if (!HasCudaDevice()) GTEST_SKIP() << "no device";
  const auto shape = ParseSyntheticModel(kModel)->config.shape;
  const auto sets = [&](const char* text) { return *ParseSkipList(text, shape.num_layers); };
  const auto levels = sets("attn:last=2;attn:last=3");
  const auto cuda = Runner(*MakeCudaBackend(shape), levels);
  // Two sizes of each level, of the model without skipping, and of what serves any set.
  constexpr int kRecorded = 8;
  EXPECT_EQ(cuda->Usage().recorded_steps, kRecorded);
  EXPECT_GT(cuda->Usage().weight_bytes, 0);
  EXPECT_GT(cuda->Usage().page_bytes, 0);
  EXPECT_GT(cuda->Usage().buffer_bytes, 0);
  const auto cpu =
      Runner(*MakeCpuBackend(shape, {.threads = 1, .memory_bytes = int64_t{1} << 30}), {});
  for (const char* mix :
       {"none", "attn:last=2", "none;attn:last=2;attn:last=3", "attn:0,2+mlp:1", "mlp:0-3",
        "attn:0-3+mlp:0-2", "attn:0-3", "attn:1;attn:2+mlp:2;attn:last=3"}) {
    for (const int slots : {1, 8, kSlots}) {
      const auto skips = sets(mix);
      const auto expected = Decode(*cpu, skips, slots);
      const auto actual = Decode(*cuda, skips, slots);
      ASSERT_EQ(actual.size(), expected.size());
      for (size_t i = 0; i < actual.size(); ++i) {
        EXPECT_NEAR(actual[i].top[0].logprob, expected[i].top[0].logprob, 0.02)
            << mix << ", " << slots << " slots, result " << i;
      }
    }
  }
  EXPECT_EQ(cuda->Usage().recorded_steps, kRecorded);
}

// One recording serves all sets that have maps in the same sublayers, in any mix of them; what no
// recording is of runs too, and a set without maps has nothing of those of others.
TEST(CudaLlamaRunnerTest, RecordedStepsServeMaps) {
  if (!HasCudaDevice()) GTEST_SKIP() << "no device";
  const auto shape = ParseSyntheticModel(kModel)->config.shape;
  const auto cuda = Runner(*MakeCudaBackend(shape), {Mapped(0), Mapped(2)});
  constexpr int kRecorded = 8;
  EXPECT_EQ(cuda->Usage().recorded_steps, kRecorded);
  const auto cpu =
      Runner(*MakeCpuBackend(shape, {.threads = 1, .memory_bytes = int64_t{1} << 30}), {});
  std::vector<std::vector<LogitsResult>> alone;
  for (const std::vector<SkipSet>& mix : {std::vector<SkipSet>{Mapped(0)},
                                          {Mapped(1)},
                                          {Mapped(2)},
                                          {Mapped(1), Mapped(2), Mapped(0)},
                                          {SkipSet(4), Mapped(2), Mapped(1)},
                                          {SkipSet(4)}}) {
    for (const int slots : {1, 8, kSlots}) {
      const auto expected = Decode(*cpu, mix, slots);
      const auto actual = Decode(*cuda, mix, slots);
      for (size_t i = 0; i < actual.size(); ++i) {
        EXPECT_NEAR(actual[i].top[0].logprob, expected[i].top[0].logprob, 0.02)
            << mix[0].ToString() << ", " << mix.size() << " sets, " << slots << " slots, " << i;
      }
      if (mix.size() == 1) alone.push_back(actual);
    }
  }
  // The maps are no small change.
  EXPECT_GT(LargestDifference(alone[2], alone[5]), 0.05);
  EXPECT_GT(LargestDifference(alone[5], alone[8]), 0.05);
  EXPECT_GT(LargestDifference(alone[2], alone[8]), 0.05);
  EXPECT_EQ(cuda->Usage().recorded_steps, kRecorded);
}

// The products of more than 16 rows: what the first start timed the second one finds.
TEST(CudaLlamaRunnerTest, KeepsWhatTheWarmUpTuned) {
  if (!HasCudaDevice()) GTEST_SKIP() << "no device";
  const auto shape = ParseSyntheticModel(kModel)->config.shape;
  const std::string path = testing::TempDir() + "/llama_runner_test.tuning";
  std::remove(path.c_str());
  const auto start = [&] {
    Runner(*MakeCudaBackend(shape, {.tuning_cache = path}), {});
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string first = start();
  // QKV, queries, keys and values, output, gate and up, down; the head in ranges of its own.
  EXPECT_GT(std::count(first.begin(), first.end(), '\n'), 7);
  EXPECT_EQ(start(), first);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace skipstone
