#include "engine/warm_up.h"

#include <algorithm>
#include <vector>

#include "base/status.h"
#include "engine/schedule/step_plan.h"

namespace skipstone {
namespace {

// Sequences that decode together: one of each number of rows that a device tells apart.
constexpr int kDecodeRows[] = {1, 9};
// A device may treat fewer rows as it treats those of a level.
constexpr int kUnorderedRows = 32;
// Prompts grow by doubling from here on.
constexpr int kFirstPromptRows = 32;

// Plans whose chunks each begin a slot at position 0.
class Planner {
 public:
  Planner(const StepLimits& limits, StepPlan* plan) : limits_(limits), plan_(*plan) {}

  void AddChunk(const SkipSet& skip, int rows, int logits_rows) {
    const auto slot = static_cast<int32_t>(plan_.chunks.size());
    plan_.slot_starts.push_back({.slot = slot, .sampling = &sampling_});
    // Sequences may share pages here: nobody reads what they hold.
    const int blocks = (rows + limits_.page_tokens - 1) / limits_.page_tokens;
    for (int layer = 0; layer < skip.num_layers(); ++layer) {
      if (!skip.KeepsAttention(layer)) continue;
      for (int block = 0; block < blocks; ++block) {
        plan_.page_updates.push_back({slot, layer, block, NextPage()});
      }
    }
    plan_.chunks.push_back({.sequence = static_cast<SequenceId>(slot),
                            .slot = slot,
                            .set = plan_.SetOf(skip),
                            .num_rows = rows,
                            .first_token = static_cast<int32_t>(plan_.tokens.size()),
                            .logits_rows = logits_rows,
                            .samples = logits_rows > 0});
    plan_.tokens.insert(plan_.tokens.end(), rows, 0);
    plan_.num_rows += rows;
  }

 private:
  int32_t NextPage() { return static_cast<int32_t>(next_page_++ % limits_.num_pages); }

  const StepLimits& limits_;
  const SamplingParams sampling_;
  StepPlan& plan_;
  int64_t next_page_ = 0;
};

absl::Status Run(const StepPlan& plan, ModelRunner& runner) {
  runner.Launch(plan);
  return runner.Collect().status;
}

// The sequences take the sets in turn.
absl::Status RunDecode(const StepLimits& limits, std::span<const SkipSet* const> skips, int rows,
                       ModelRunner& runner) {
  StepPlan plan;
  Planner planner(limits, &plan);
  for (int i = 0; i < rows; ++i) planner.AddChunk(*skips[i % skips.size()], 1, 1);
  return Run(plan, runner);
}

// Sets that do not nest: the rows of the first layer's attention are no range (SEMANTICS 3).
absl::Status RunUnordered(const StepLimits& limits, int num_layers, int rows, ModelRunner& runner) {
  const SkipSet none(num_layers);
  SkipSet first(num_layers), last(num_layers);
  first.SkipAttention(0);
  last.SkipAttention(num_layers - 1);
  const SkipSet* const skips[] = {&last, &first, &none};
  return RunDecode(limits, skips, rows, runner);
}

// All rows but one need logits: the last attention sublayer then has a product of all rows and one
// of nearly as many, and the head one of each size too.
absl::Status RunPrompt(const ModelShape& shape, const StepLimits& limits, const SkipSet& skip,
                       int rows, ModelRunner& runner) {
  StepPlan plan;
  Planner planner(limits, &plan);
  int logits = std::min(rows - 1, limits.max_logits_rows);
  for (int left = rows; left > 0 && std::ssize(plan.chunks) < limits.max_slots;) {
    const int count = std::min(left, shape.max_context);
    // Of this chunk's last rows, so never all of the first chunk's.
    const int wanted = std::min(logits, plan.chunks.empty() ? count - 1 : count);
    planner.AddChunk(skip, count, wanted);
    logits -= wanted;
    left -= count;
  }
  return Run(plan, runner);
}

}  // namespace

absl::Status WarmUp(const ModelShape& shape, const StepLimits& limits,
                    std::span<const SkipSet> levels, ModelRunner& runner) {
  const SkipSet none(shape.num_layers);
  std::vector<const SkipSet*> sets{&none};
  for (const SkipSet& level : levels) sets.push_back(&level);
  const int most = std::min({limits.max_slots, limits.max_rows, limits.max_logits_rows});
  for (const SkipSet* skip : sets) {
    for (const int rows : kDecodeRows) {
      if (rows > most) break;
      SKIPSTONE_RETURN_IF_ERROR(RunDecode(limits, {&skip, 1}, rows, runner));
    }
  }
  if (most >= kUnorderedRows && shape.num_layers > 1) {
    SKIPSTONE_RETURN_IF_ERROR(RunUnordered(limits, shape.num_layers, most, runner));
  }
  for (const SkipSet* skip : sets) {
    // Maps may be products of their own; all others are those of the full model.
    if (skip != &none && !skip->HasMaps()) continue;
    for (int rows = kFirstPromptRows; rows < 2 * limits.max_rows; rows *= 2) {
      SKIPSTONE_RETURN_IF_ERROR(
          RunPrompt(shape, limits, *skip, std::min(rows, limits.max_rows), runner));
    }
  }
  return absl::OkStatus();
}

}  // namespace skipstone
