// Rows compared with their references in a step, against the CPU backend.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "tests/engine/cuda/two_backends.h"

namespace skipstone::cuda {
namespace {

constexpr int kHidden = 64;
constexpr int kVocab = 61;
constexpr int kSlots = 4;
constexpr int kMostRows = 300;  // more than exist at a time
const ModelShape kShape{.num_layers = 1,
                        .hidden = kHidden,
                        .heads = 1,
                        .kv_heads = 1,
                        .head_dim = 64,
                        .ffn = 96,
                        .vocab = kVocab,
                        .max_context = 512};

class DivergenceKernelTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasCudaDevice()) GTEST_SKIP() << "no device";
    backends_ = std::make_unique<TwoBackends>(kShape, DType::kF16);
    norm_ = backends_->Add(1, kHidden, 1.0f);
    head_ = backends_->Add(kVocab, kHidden, 0.3f);
    backends_->Allocate({.max_rows = kMostRows,
                         .max_logits_rows = kMostRows,
                         .max_slots = kSlots,
                         .page_tokens = 16,
                         .num_pages = 32});
    stages_ = [this](Backend& backend) { backend.Logits(norm_, head_); };
  }

  // Row i's reference is reference(i); every other row is a copy of the one before it.
  void Check(int rows, const std::function<int(int)>& reference) {
    SCOPED_TRACE(testing::Message() << rows << " rows");
    Numbers states(DType::kF16, rows * kHidden, 5);
    for (int row = 1; row < rows; row += 2) {
      std::copy_n(states.values.begin() + (row - 1) * kHidden, kHidden,
                  states.values.begin() + row * kHidden);
    }
    std::vector<LogitsRow> logits;
    for (int row = 0; row < rows; ++row) {
      logits.push_back({.target = row % kVocab, .top_n = 1, .reference = reference(row)});
    }
    const std::vector<LayerRows> layers(1);
    const StepInput step{.layers = layers, .logits = logits};
    const auto cpu = backends_->OnCpu(step, states.values, stages_).results;
    const auto cuda = backends_->OnCuda(step, states.values, stages_).results;
    ASSERT_EQ(cuda.size(), logits.size());
    for (int row = 0; row < rows; ++row) {
      const int to = logits[row].reference;
      ASSERT_NEAR(cuda[row].target.logprob, cpu[row].target.logprob, 0.02) << row;
      ASSERT_NEAR(cuda[row].top.at(0).logprob, cpu[row].top.at(0).logprob, 0.02) << row;
      ASSERT_NEAR(cuda[row].kl, cpu[row].kl, 0.02 + 0.01 * cpu[row].kl) << row << " to " << to;
      const bool equal = to < 0 || to / 2 == row / 2;
      ASSERT_EQ(cuda[row].kl == 0, equal) << row << " to " << to;
    }
  }

  std::unique_ptr<TwoBackends> backends_;
  WeightId norm_, head_;
  TwoBackends::Stages stages_;
};

TEST_F(DivergenceKernelTest, ComparesRowsOfOneStep) {
  for (const int rows : {2, 8, 16, 40, kMostRows}) {
    Check(rows, [&](int row) { return row < rows / 2 ? -1 : row - rows / 2; });
    Check(rows, [&](int row) { return row == rows / 2 ? -1 : rows / 2; });
    // With itself, with a later row, with one that is compared itself.
    Check(rows, [&](int row) { return row % 3 == 0 ? row : (row * 7 + 1) % rows; });
  }
  Check(1, [](int) { return 0; });
}

// A row that is there twice is sampled once: else what it samples would be penalised twice.
TEST_F(DivergenceKernelTest, AReferenceSamplesOnce) {
  const SamplingParams sampling{.temperature = 0, .frequency_penalty = 0.4f};
  std::vector<SlotStart> starts;
  std::vector<LogitsRow> logits;
  for (int slot = 0; slot < kSlots; ++slot) {
    starts.push_back({.slot = slot, .sampling = &sampling});
    logits.push_back({.slot = slot, .sample = true, .reference = slot});
  }
  const Numbers states(DType::kF16, kSlots * kHidden, 6);
  const std::vector<LayerRows> layers(1);
  std::vector<int> tokens;
  for (int i = 0; i < 8; ++i) {
    const StepInput step{.layers = layers, .logits = logits, .slot_starts = starts};
    const auto cpu = backends_->OnCpu(step, states.values, stages_).results;
    const auto cuda = backends_->OnCuda(step, states.values, stages_).results;
    for (int slot = 0; slot < kSlots; ++slot) {
      EXPECT_EQ(cuda[slot].sampled.id, cpu[slot].sampled.id) << "step " << i << " slot " << slot;
      tokens.push_back(cpu[slot].sampled.id);
    }
    starts.clear();
  }
  EXPECT_NE(tokens.front(), tokens[7 * kSlots]);
}

}  // namespace
}  // namespace skipstone::cuda
