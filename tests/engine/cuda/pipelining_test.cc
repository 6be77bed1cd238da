// Two steps in flight, as the step loop runs them: a step is begun before the one before it was
// waited for, and reads the token that one samples.
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
  std::vector<std::vector<int32_t>> Run(int in_flight) {
    std::vector<std::vector<int32_t>> out;
    for (int step = 0; step < kSteps + in_flight - 1; ++step) {
      if (step < kSteps) Launch(step);
      if (step < in_flight - 1) continue;
      std::vector<LogitsResult> results;
      SKIPSTONE_CHECK(backend_->WaitStep(&results).ok());
      out.emplace_back();
      for (const LogitsResult& result : results) out.back().push_back(result.sampled.id);
    }
    return out;
  }

 private:
  void Launch(int step) {
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
    const RowList all{.begin = 0, .count = kSlots};
    const std::vector<LayerRows> layers(kShape.num_layers, LayerRows{all, all, all});
    const StepInput input{.tokens = tokens,
                          .positions = positions,
                          .slots = slots,
                          .layers = layers,
                          .logits = logits,
                          .runs = runs,
                          .slot_starts = starts,
                          .page_updates = updates};
    backend_->BeginStep(input);
    backend_->Run([&] { Forward(input, weights_, *backend_); });
    backend_->EndStep();
  }

  std::unique_ptr<Backend> backend_;
  Weights weights_;
};

TEST(CudaPipeliningTest, TwoStepsInFlightSampleWhatOneDoes) {
  if (!HasCudaDevice()) GTEST_SKIP() << "no device";
  const StageModel model(kShape, DType::kF16);
  const auto one = Decoder(model).Run(1);
  const auto two = Decoder(model).Run(2);
  EXPECT_EQ(one, two);
  ASSERT_EQ(one.size(), static_cast<size_t>(kSteps));
  EXPECT_NE(one[0], one[kSteps - 1]);
}

}  // namespace
}  // namespace skipstone
