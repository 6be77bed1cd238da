#include "engine/bench/bench_arm.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/hash.h"

namespace skipstone {

BenchArm::BenchArm(const BenchOptions& options, const SkipSet& skip, int vocab, int first_slot,
                   PagePool& pool)
    : options_(options),
      skip_(skip),
      vocab_(vocab),
      prefill_slot_(first_slot),
      prefill_pages_(pool, skip_, options.page_tokens) {
  greedy_.temperature = 0;
  SKIPSTONE_CHECK(prefill_pages_.Grow(options.prompt));
  if (options.steps == 0) return;
  decode_pages_.reserve(options.batch);
  for (int i = 0; i < options.batch; ++i) {
    decode_pages_.emplace_back(pool, skip_, options.page_tokens);
    SKIPSTONE_CHECK(decode_pages_.back().Grow(int64_t{options.context} + options.steps));
  }
}

int64_t BenchArm::PagesNeeded(const BenchOptions& options, const SkipSet& skip) {
  int64_t pages = PagesFor(options.prompt, skip, options.page_tokens);
  if (options.steps > 0) {
    pages += options.batch *
             PagesFor(int64_t{options.context} + options.steps, skip, options.page_tokens);
  }
  return pages;
}

int64_t BenchArm::decode_pages() const {
  int64_t pages = 0;
  for (const SequencePages& sequence : decode_pages_) pages += sequence.num_pages();
  return pages;
}

// Any ids do; different ones keep the embedding rows apart.
int32_t BenchArm::TokenAt(int slot, int position) const {
  return static_cast<int32_t>(Mix64(static_cast<uint64_t>(slot - prefill_slot_) << 32 | position) %
                              vocab_);
}

void BenchArm::AddChunk(int slot, int first, int count, bool samples, StepPlan* plan) const {
  plan->chunks.push_back({.sequence = static_cast<SequenceId>(slot),
                          .slot = slot,
                          .skip = &skip_,
                          .first_position = first,
                          .num_rows = count,
                          .first_token = static_cast<int32_t>(plan->tokens.size()),
                          .logits_rows = samples ? 1 : 0,
                          .samples = samples});
  for (int p = first; p < first + count; ++p) plan->tokens.push_back(TokenAt(slot, p));
  plan->num_rows += count;
}

std::vector<StepPlan> BenchArm::ChunkPlans(int slot, int tokens) const {
  std::vector<StepPlan> plans;
  for (int first = 0; first < tokens; first += options_.chunk) {
    const int count = std::min(options_.chunk, tokens - first);
    AddChunk(slot, first, count, first + count == tokens, &plans.emplace_back());
  }
  return plans;
}

void BenchArm::SendPages(int slot, const SequencePages& pages, StepPlan* plan) const {
  for (int block = 0; block < pages.num_blocks(); ++block) {
    for (size_t i = 0; i < pages.layers().size(); ++i) {
      plan->page_updates.push_back(
          {slot, pages.layers()[i], block, pages.page(block, static_cast<int>(i))});
    }
  }
  plan->slot_starts.push_back({.slot = slot, .sampling = &greedy_});
}

std::vector<StepPlan> BenchArm::PrefillPlans() {
  std::vector<StepPlan> plans = ChunkPlans(prefill_slot_, options_.prompt);
  if (!plans.empty()) SendPages(prefill_slot_, prefill_pages_, &plans[0]);
  return plans;
}

// One sequence is computed, the others get copies of its pages with the first decode step.
std::vector<StepPlan> BenchArm::FillPlans() {
  if (decode_pages_.empty()) return {};
  const int slot = prefill_slot_ + 1;
  std::vector<StepPlan> plans = ChunkPlans(slot, options_.context);
  SendPages(slot, decode_pages_[0], &plans[0]);
  StepPlan& first_step = plans.emplace_back(DecodePlan(0));
  for (int i = 1; i < options_.batch; ++i) {
    SendPages(slot + i, decode_pages_[i], &first_step);
    for (int block = 0; block < decode_pages_[i].num_blocks(); ++block) {
      for (size_t layer = 0; layer < decode_pages_[i].layers().size(); ++layer) {
        const int kept = static_cast<int>(layer);
        first_step.page_copies.push_back(
            {decode_pages_[0].page(block, kept), decode_pages_[i].page(block, kept)});
      }
    }
  }
  return plans;
}

StepPlan BenchArm::DecodePlan(int i) {
  StepPlan plan;
  for (int s = 0; s < options_.batch; ++s) {
    AddChunk(prefill_slot_ + 1 + s, options_.context + i, 1, true, &plan);
  }
  return plan;
}

}  // namespace skipstone
