#include "tools/calibrate/generations.h"

#include <utility>

#include "base/status.h"
#include "engine/llama_runner.h"
#include "engine/schedule/step_plan.h"

namespace skipstone::calibrate {
namespace {

constexpr int kPageTokens = 16;

// Prompts in slots of their own, each with all pages it will need.
class Decoder {
 public:
  Decoder(ModelRunner& runner, int num_layers, std::span<const std::vector<int32_t>> prompts,
          int count)
      : runner_(runner), num_layers_(num_layers), prompts_(prompts), count_(count) {}

  int Blocks() const {
    return (static_cast<int>(prompts_[0].size()) + count_ + kPageTokens - 1) / kPageTokens;
  }

  // `sampling`: of each prompt.
  absl::StatusOr<std::vector<std::vector<int32_t>>> Run(
      const SkipSet& skip, const std::vector<SamplingParams>& sampling) {
    std::vector<std::vector<int32_t>> generated(prompts_.size());
    for (int step = 0; step < count_; ++step) {
      const StepPlan plan = PlanOf(skip, sampling, step, generated);
      runner_.Launch(plan);
      const StepResults results = runner_.Collect();
      SKIPSTONE_RETURN_IF_ERROR(results.status);
      for (size_t i = 0; i < prompts_.size(); ++i) {
        generated[i].push_back(results.logits[i].sampled.id);
      }
    }
    return generated;
  }

 private:
  StepPlan PlanOf(const SkipSet& skip, const std::vector<SamplingParams>& sampling, int step,
                  const std::vector<std::vector<int32_t>>& generated) const {
    StepPlan plan;
    plan.sets.push_back(skip);
    for (int32_t slot = 0; slot < std::ssize(prompts_); ++slot) {
      const auto length = static_cast<int32_t>(prompts_[slot].size());
      SequenceChunk chunk{.slot = slot,
                          .first_position = step == 0 ? 0 : length + step - 1,
                          .num_rows = step == 0 ? length : 1,
                          .first_token = static_cast<int32_t>(plan.tokens.size()),
                          .logits_rows = 1,
                          .samples = true};
      if (step == 0) {
        plan.tokens.insert(plan.tokens.end(), prompts_[slot].begin(), prompts_[slot].end());
        plan.slot_starts.push_back(
            {.slot = slot, .sampling = &sampling[slot], .prompt = prompts_[slot]});
        AddPages(slot, &plan);
      } else {
        plan.tokens.push_back(generated[slot].back());
      }
      plan.num_rows += chunk.num_rows;
      plan.chunks.push_back(chunk);
    }
    return plan;
  }

  void AddPages(int32_t slot, StepPlan* plan) const {
    const int blocks = Blocks();
    for (int layer = 0; layer < num_layers_; ++layer) {
      for (int block = 0; block < blocks; ++block) {
        plan->page_updates.push_back(
            {slot, layer, block, (slot * num_layers_ + layer) * blocks + block});
      }
    }
  }

  ModelRunner& runner_;
  const int num_layers_;
  const std::span<const std::vector<int32_t>> prompts_;
  const int count_;
};

}  // namespace

absl::StatusOr<std::vector<Generated>> Generate(LoadedModel model,
                                                std::span<const std::vector<int32_t>> prompts,
                                                std::span<const SkipSet> sets, int count,
                                                uint64_t seed) {
  const int layers = model.config.shape.num_layers;
  const int slots = static_cast<int>(prompts.size());
  const int tokens = static_cast<int>(prompts[0].size()) + count;
  const int64_t blocks = (tokens + kPageTokens - 1) / kPageTokens;
  SKIPSTONE_ASSIGN_OR_RETURN(
      const std::unique_ptr<ModelRunner> runner,
      MakeLlamaRunner(std::move(model),
                      {.limits = {.max_rows = static_cast<int>(prompts[0].size()) * slots,
                                  .max_logits_rows = slots,
                                  .max_slots = slots,
                                  .page_tokens = kPageTokens,
                                  .num_pages = blocks * layers * slots}}));
  Decoder decoder(*runner, layers, prompts, count);
  SamplingParams greedy, sampled;
  greedy.temperature = 0;
  const std::vector<SamplingParams> all_greedy(slots, greedy);
  std::vector<SamplingParams> all_sampled(slots, sampled);
  for (int i = 0; i < slots; ++i) all_sampled[i].seed = seed + i;
  std::vector<Generated> all(sets.size());
  for (size_t i = 0; i < sets.size(); ++i) {
    SKIPSTONE_ASSIGN_OR_RETURN(all[i].greedy, decoder.Run(sets[i], all_greedy));
    SKIPSTONE_ASSIGN_OR_RETURN(all[i].sampled, decoder.Run(sets[i], all_sampled));
  }
  return all;
}

}  // namespace skipstone::calibrate
