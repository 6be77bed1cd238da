// Two steps in flight, as the step loop runs them: a step is begun before the one before it was
// waited for, and reads the token that one samples. And steps replayed from a recording.
#include <gtest/gtest.h>

#include <vector>

#include "engine/cuda/cuda_backend.h"
#include "engine/model/llama.h"
#include "tests/engine/cpu/stage_model.h"

namespace skipstone {
namespace {

constexpr int kSlots = 3;
constexpr int kSteps = 12;
const ModelShape kShape{.num_layers = 2,
                        .hidden = 64,
                        .heads = 2,
                        .kv_heads = 1,
                        .head_dim = 64,
                        .ffn = 96,
                        .vocab = 61,
                        .max_context = 64};

struct DecoderOptions {
  int in_flight = 1;
  bool recorded = true;
  int windowed_from = kSteps;  // the first step with a window in the last layer
};

// Sequences of one-token prompts that sample a token a step.
class Decoder {
 public:
  Decoder(const StageModel& model) : backend_(*MakeCudaBackend(kShape)) {
    weights_ = model.AddTo(*backend_);
    SKIPSTONE_CHECK(backend_
                        ->Allocate({.max_rows = 8,
                                    .max_logits_rows = 8,
                                    .max_slots = kSlots,
                                    .page_tokens = 4,
                                    .num_pages = kSlots * 2 * kSteps})
                        .ok());
  }

  // Ids by step and slot.
  std::vector<std::vector<int32_t>> Run(const DecoderOptions& options) {
    const int in_flight = options.in_flight;
    std::vector<std::vector<int32_t>> out;
    for (int step = 0; step < kSteps + in_flight - 1; ++step) {
      if (step < kSteps) Launch(step, options);
      if (step < in_flight - 1) continue;
      std::vector<LogitsResult> results;
      SKIPSTONE_CHECK(backend_->WaitStep(&results).ok());
      out.emplace_back();
      for (const LogitsResult& result : results) out.back().push_back(result.sampled.id);
    }
    return out;
  }

 private:
  void Launch(int step, const DecoderOptions& options) {
    const SamplingParams params{.temperature = 1.5f, .seed = 4};
    std::vector<int32_t> tokens, positions, slots;
    std::vector<LogitsRow> logits;
    std::vector<RowRun> runs;
    std::vector<SlotStart> starts;
    std::vector<PageUpdate> updates;
    for (int slot = 0; slot < kSlots; ++slot) {
      tokens.push_back(step == 0 ? 5 + slot : kSampledToken);
      positions.push_back(step);
      slots.push_back(slot);
      logits.push_back({.slot = slot, .position = step, .sample = true});
      runs.push_back({slot, 1});
      if (step == 0) starts.push_back({.slot = slot, .output_index = slot, .sampling = &params});
      for (int layer = 0; step % 4 == 0 && layer < kShape.num_layers; ++layer) {
        updates.push_back({slot, layer, step / 4, (step / 4 * kSlots + slot) * 2 + layer});
      }
    }
    const std::vector<int32_t> sets(kSlots, 0);
    std::vector<int32_t> windows(kShape.num_layers, 0);
    if (step >= options.windowed_from) windows.back() = 2;
    const RowList all{.begin = 0, .count = kSlots};
    const std::vector<LayerRows> layers(kShape.num_layers, LayerRows{all, all, all});
    const StepInput input{.tokens = tokens,
                          .positions = positions,
                          .slots = slots,
                          .layers = layers,
                          .logits = logits,
                          .runs = runs,
                          .sets = sets,
                          .windows = windows,
                          .sink_tokens = 1,
                          .slot_starts = starts,
                          .page_updates = updates};
    backend_->BeginStep(input);
    const auto forward = [&] { Forward(input, weights_, *backend_); };
    options.recorded ? backend_->Run(forward) : forward();
    backend_->EndStep();
  }

  std::unique_ptr<Backend> backend_;
  Weights weights_;
};

TEST(CudaPipeliningTest, TwoStepsInFlightSampleWhatOneDoes) {
  if (!HasCudaDevice()) GTEST_SKIP() << "no device";
  const StageModel model(kShape, DType::kF16);
  const auto one = Decoder(model).Run({});
  const auto two = Decoder(model).Run({.in_flight = 2});
  EXPECT_EQ(one, two);
  ASSERT_EQ(one.size(), static_cast<size_t>(kSteps));
  EXPECT_NE(one[0], one[kSteps - 1]);
}

// What was recorded of a step without windows serves those that have some.
TEST(CudaPipeliningTest, ARecordedStepHeedsWindows) {
  if (!HasCudaDevice()) GTEST_SKIP() << "no device";
  const StageModel model(kShape, DType::kF16);
  const auto recorded = Decoder(model).Run({.windowed_from = 4});
  EXPECT_EQ(recorded, Decoder(model).Run({.recorded = false, .windowed_from = 4}));
  EXPECT_NE(recorded, Decoder(model).Run({}));
}

}  // namespace
}  // namespace skipstone
