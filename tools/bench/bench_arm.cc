#include "tools/bench/bench_arm.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/hash.h"

namespace skipstone {

BenchArm::BenchArm(const BenchOptions& options, std::vector<SkipSet> skips, int vocab,
                   int first_slot, PagePool& pool)
    : options_(options),
      skips_(std::move(skips)),
      vocab_(vocab),
      prefill_slot_(first_slot),
      prefill_pages_(pool, skips_[0], options.page_tokens) {
  greedy_.temperature = 0;
  if (!mixed()) SKIPSTONE_CHECK(prefill_pages_.Grow(options.prompt));
  if (options.steps == 0) return;
  decode_pages_.reserve(options.batch);
  for (int i = 0; i < options.batch; ++i) {
    decode_pages_.emplace_back(pool, skips_[i % skips_.size()], options.page_tokens);
    SKIPSTONE_CHECK(decode_pages_.back().Grow(int64_t{options.context} + options.steps));
  }
}

int64_t BenchArm::PagesNeeded(const BenchOptions& options, std::span<const SkipSet> skips) {
  int64_t pages = 0;
  if (skips.size() == 1) pages += PagesFor(options.prompt, skips[0], options.page_tokens);
  for (int i = 0; options.steps > 0 && i < options.batch; ++i) {
    pages += PagesFor(int64_t{options.context} + options.steps, skips[i % skips.size()],
                      options.page_tokens);
  }
  return pages;
}

int64_t BenchArm::decode_pages() const {
  int64_t pages = 0;
  for (const SequencePages& sequence : decode_pages_) pages += sequence.num_pages();
  return pages;
}

const SkipSet& BenchArm::SkipOf(int slot) const {
  return skips_[slot == prefill_slot_ ? 0 : (slot - prefill_slot_ - 1) % skips_.size()];
}

// Any ids do; different ones keep the embedding rows apart.
int32_t BenchArm::TokenAt(int slot, int position) const {
  return static_cast<int32_t>(Mix64(static_cast<uint64_t>(slot - prefill_slot_) << 32 | position) %
                              vocab_);
}

void BenchArm::AddChunk(int slot, const SkipSet& skip, int first, int count, StepPlan* plan) const {
  plan->chunks.push_back({.sequence = static_cast<SequenceId>(slot),
                          .slot = slot,
                          .set = plan->SetOf(skip),
                          .first_position = first,
                          .num_rows = count,
                          .first_token = static_cast<int32_t>(plan->tokens.size()),
                          .logits_rows = 1,
                          .samples = true});
  for (int p = first; p < first + count; ++p) plan->tokens.push_back(TokenAt(slot, p));
  plan->num_rows += count;
}

std::vector<StepPlan> BenchArm::ChunkPlans(int slot, const SkipSet& skip, int tokens) const {
  std::vector<StepPlan> plans;
  for (int first = 0; first < tokens; first += options_.chunk) {
    const int count = std::min(options_.chunk, tokens - first);
    StepPlan& plan = plans.emplace_back();
    AddChunk(slot, skip, first, count, &plan);
    if (first + count == tokens) continue;
    plan.chunks[0].logits_rows = 0;
    plan.chunks[0].samples = false;
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
  if (mixed()) return {};
  std::vector<StepPlan> plans = ChunkPlans(prefill_slot_, skips_[0], options_.prompt);
  if (!plans.empty()) SendPages(prefill_slot_, prefill_pages_, &plans[0]);
  return plans;
}

// Every sequence has pages of its own, since shared ones would be read from caches. What they hold
// does not matter, so the MLPs, most of the work, are left out.
std::vector<StepPlan> BenchArm::FillPlans() {
  std::vector<StepPlan> plans;
  for (int i = 0; i < std::ssize(decode_pages_); ++i) {
    const int slot = prefill_slot_ + 1 + i;
    SkipSet skip = SkipOf(slot);
    for (int layer = 0; layer < skip.num_layers(); ++layer) skip.SkipMlp(layer);
    std::vector<StepPlan> chunks = ChunkPlans(slot, skip, options_.context);
    SendPages(slot, decode_pages_[i], &chunks[0]);
    std::move(chunks.begin(), chunks.end(), std::back_inserter(plans));
  }
  return plans;
}

std::vector<StepPlan> BenchArm::DecodePlans(int first, int count) {
  std::vector<StepPlan> plans(count);
  for (int i = 0; i < count; ++i) {
    for (int s = 0; s < options_.batch; ++s) {
      const int slot = prefill_slot_ + 1 + s;
      AddChunk(slot, SkipOf(slot), options_.context + first + i, 1, &plans[i]);
      plans[i].tokens.back() = kSampledToken;
    }
  }
  return plans;
}

}  // namespace skipstone
