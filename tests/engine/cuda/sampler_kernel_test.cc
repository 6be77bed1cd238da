// The device's sampler against the vectors of float64, and against the CPU's: the same tokens from
// the same logits.
#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "engine/cpu/sampler.h"
#include "engine/cuda/kernels/stage_kernels.h"
#include "tests/engine/cpu/sampler_vectors.h"
#include "tests/engine/cuda/kernel_rig.h"

namespace skipstone::cuda {
namespace {

constexpr int kVocab = 300;
constexpr int kSlots = 4;
const ModelShape kShape{.num_layers = 1, .vocab = kVocab, .max_context = 256};

class SamplerKernelTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) return;
    tables_ = *SlotUploads::Create(kShape, kSlots);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  }

  void Start(const SamplingParams& params, const std::vector<int32_t>& prompt,
             const std::vector<int32_t>& output) {
    states_.clear();
    std::vector<SlotStart> starts;
    for (int slot = 0; slot < kSlots; ++slot) {
      starts.push_back({.slot = slot,
                        .output_index = slot,
                        .sampling = &params,
                        .prompt = prompt,
                        .output = output});
      states_.emplace_back(starts.back());
    }
    tables_.Start(starts, stream_.get(), error_);
  }

  // What the device makes of the logits [row][kVocab].
  std::vector<LogitsResult> Reduce(const std::vector<LogitsRow>& rows,
                                   const std::vector<float>& logits) {
    const StepHeader* step = Upload(kShape, {.logits = rows});
    ResultDownload results = *ResultDownload::Create({.max_logits_rows = kSlots}, kVocab);
    const DeviceArray<float> device_logits(logits);
    const DeviceArray<float> scratch(std::vector<float>(logits.size()));
    EXPECT_EQ(LaunchSample({.step = step,
                            .source = {ListKind::kLogits, 0, 0, kSlots},
                            .logits = device_logits.get(),
                            .scratch = scratch.get(),
                            .tables = tables_.tables(),
                            .results = results.device_results(),
                            .top = results.device_top()},
                           static_cast<int>(rows.size()), stream_.get()),
              cudaSuccess);
    results.Enqueue(rows, upload_.num_top(), stream_.get(), error_);
    std::vector<LogitsResult> actual;
    results.Wait(&actual, error_);
    EXPECT_TRUE(error_.status().ok()) << error_.status();
    return actual;
  }

  // One row per slot; every slot samples.
  void Step(int position, const std::vector<float>& logits, int top_n, int target) {
    std::vector<LogitsRow> rows;
    for (int slot = 0; slot < kSlots; ++slot) {
      rows.push_back({.slot = slot,
                      .position = position + slot,
                      .sample = true,
                      .target = target,
                      .top_n = top_n});
    }
    const std::vector<LogitsResult> actual = Reduce(rows, logits);
    ASSERT_EQ(actual.size(), rows.size());
    std::vector<float> cpu_scratch(2 * kVocab);
    for (int slot = 0; slot < kSlots; ++slot) {
      const std::span row(logits.data() + slot * kVocab, kVocab);
      const LogitsResult expected = ReduceLogits(row, rows[slot], states_[slot], cpu_scratch);
      Compare(actual[slot], expected);
      states_[slot].Append(expected.sampled.id);
    }
  }

  static void Compare(const LogitsResult& actual, const LogitsResult& expected) {
    ASSERT_EQ(actual.finite, expected.finite);
    EXPECT_EQ(actual.sampled.id, expected.sampled.id);
    if (!actual.finite) return;
    EXPECT_NEAR(actual.sampled.logprob, expected.sampled.logprob, 1e-5);
    EXPECT_EQ(actual.target.id, expected.target.id);
    EXPECT_NEAR(actual.target.logprob, expected.target.logprob, 1e-5);
    ASSERT_EQ(actual.top.size(), expected.top.size());
    for (size_t i = 0; i < actual.top.size(); ++i) {
      EXPECT_EQ(actual.top[i].id, expected.top[i].id);
      EXPECT_NEAR(actual.top[i].logprob, expected.top[i].logprob, 1e-5);
    }
  }

  // Rows of different logits, with ties: values are multiples of 1/8.
  static std::vector<float> RandomLogits(uint64_t seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal(0.0f, 2.0f);
    std::vector<float> logits(kSlots * kVocab);
    for (float& x : logits) x = std::round(normal(random) * 8) / 8;
    return logits;
  }

  // Several steps of one set of parameters, over which counts and lengths move on.
  void Check(const SamplingParams& params, int steps = 6) {
    Start(params, {1, 2, 3, 250}, {3, 7, 7});
    for (int i = 0; i < steps; ++i) Step(10 + 5 * i, RandomLogits(params.seed * 100 + i), 5, 17);
  }

  SlotUploads tables_;
  std::vector<SamplingState> states_;
};

TEST_P(SamplerKernelTest, DrawsWhatFloat64Draws) {
  for (const SamplerVector& vector : ReadSamplerVectors()) {
    SCOPED_TRACE(vector.text);
    ASSERT_EQ(vector.logits.size(), kVocab);
    const int top_n = static_cast<int>(vector.top.size());
    for (size_t first = 0; first < vector.draws.size(); first += kSlots) {
      const size_t count = std::min<size_t>(kSlots, vector.draws.size() - first);
      std::vector<SlotStart> starts;
      std::vector<LogitsRow> rows;
      std::vector<float> logits;
      for (int slot = 0; slot < count; ++slot) {
        starts.push_back(vector.StartOf(slot));
        rows.push_back({.slot = slot,
                        .position = vector.draws[first + slot].first,
                        .sample = true,
                        .target = 17,
                        .top_n = top_n});
        logits.insert(logits.end(), vector.logits.begin(), vector.logits.end());
      }
      tables_.Start(starts, stream_.get(), error_);
      const std::vector<LogitsResult> actual = Reduce(rows, logits);
      ASSERT_EQ(actual.size(), count);
      const auto logprob = [&](int32_t id) {
        return TokenLogprob{id, static_cast<float>(vector.logits[id] - vector.log_sum)};
      };
      for (size_t i = 0; i < count; ++i) {
        LogitsResult expected{.sampled = logprob(vector.draws[first + i].second),
                              .target = logprob(17)};
        for (const int32_t id : vector.top) expected.top.push_back(logprob(id));
        Compare(actual[i], expected);
      }
    }
  }
}

TEST_P(SamplerKernelTest, Greedy) { Check({.temperature = 0}); }
TEST_P(SamplerKernelTest, Temperature) {
  for (const float t : {0.3f, 1.0f, 1.7f}) Check({.temperature = t, .seed = 1});
}
TEST_P(SamplerKernelTest, TopK) {
  for (const int k : {1, 2, 40, 299, 300, 5000}) Check({.top_k = k, .seed = 2}, 3);
}
TEST_P(SamplerKernelTest, TopP) {
  for (const float p : {0.0f, 0.1f, 0.5f, 0.95f, 0.9999f}) Check({.top_p = p, .seed = 3}, 3);
}
TEST_P(SamplerKernelTest, MinP) {
  for (const float p : {0.02f, 0.5f, 1.0f}) Check({.min_p = p, .seed = 4}, 3);
}
TEST_P(SamplerKernelTest, AllTruncationsTogether) {
  Check({.temperature = 1.3f, .top_k = 50, .top_p = 0.8f, .min_p = 0.05f, .seed = 5}, 12);
}
TEST_P(SamplerKernelTest, Penalties) {
  Check({.temperature = 0,
         .repetition_penalty = 1.8f,
         .presence_penalty = 0.7f,
         .frequency_penalty = 0.4f,
         .seed = 6});
  Check({.repetition_penalty = 0.8f, .frequency_penalty = -0.3f, .seed = 7});
}
TEST_P(SamplerKernelTest, BiasAndSuppressionUntilTheOutputIsLong) {
  SamplingParams params{.temperature = 0, .logit_bias = {{5, 50.0f}, {9, 49.0f}, {11, -80.0f}}};
  params.min_tokens = 5;
  params.suppressed_ids = {5, 6};
  Check(params);
  params.presence_penalty = 0.5f;
  params.temperature = 1;
  Check(params);
}
TEST_P(SamplerKernelTest, DefaultsWhereNothingIsGiven) {
  states_.clear();
  std::vector<SlotStart> starts;
  for (int slot = 0; slot < kSlots; ++slot) {
    starts.push_back({.slot = slot});
    states_.emplace_back(starts.back());
  }
  tables_.Start(starts, stream_.get(), error_);
  Step(3, RandomLogits(8), -1, -1);
}
TEST_P(SamplerKernelTest, NothingIsLeft) {
  SamplingParams params{.seed = 9, .min_tokens = 9};
  for (int id = 0; id < kVocab; ++id) params.suppressed_ids.push_back(id);
  Start(params, {}, {});
  Step(0, RandomLogits(9), -1, -1);
}
// Wherever it stands, whatever is wanted of the row, and in its own row only.
TEST_P(SamplerKernelTest, FindsNumbersThatAreNotFinite) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  SamplingParams adjusted{.temperature = 0.8f, .presence_penalty = 0.5f, .seed = 2};
  adjusted.logit_bias = {{5, 3.0f}, {kVocab - 1, -50.0f}};
  adjusted.min_tokens = 90;
  adjusted.suppressed_ids = {0, 131, kVocab - 1};
  for (const SamplingParams& params :
       {SamplingParams{.temperature = 0}, SamplingParams{.seed = 1},
        SamplingParams{.top_k = 40, .top_p = 0.9f, .min_p = 0.01f}, adjusted}) {
    Start(params, {1, 2}, {3});
    for (const float bad : {std::nanf(""), -std::nanf(""), kInfinity, -kInfinity}) {
      for (const int id : {0, 131, kVocab - 1}) {
        std::vector<float> logits = RandomLogits(id);
        logits[2 * kVocab + id] = bad;
        for (const int top_n : {-1, 3}) Step(10, logits, top_n, top_n);
      }
    }
  }
}
// A slot that starts anew forgets its bias and its counts.
TEST_P(SamplerKernelTest, ANewSequenceFindsACleanSlot) {
  Check({.temperature = 0, .presence_penalty = 9.0f, .logit_bias = {{8, 90.0f}}}, 2);
  Check({.temperature = 0}, 2);
  Check({.temperature = 0, .presence_penalty = 1.0f}, 2);
  Check({.temperature = 0, .logit_bias = {{9, 3.0f}}}, 2);
}

INSTANTIATE_TEST_SUITE_P(Logits, SamplerKernelTest, testing::Values(DType::kF32),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

}  // namespace
}  // namespace skipstone::cuda
