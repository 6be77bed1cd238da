#include "tools/bench/bench_arm.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/hash.h"

namespace skipstone {
namespace {

// Takes the pages of a prompt chunk by chunk, as a server does: before each chunk those go back
// that neither it nor what follows reads. Calls visit(first, count, block) for each chunk, `block`:
// the first one that is new. With the last chunk there is room for `room` tokens.
template <class Visit>
void TakePages(int tokens, int room, int chunk, SequencePages& pages, Visit visit) {
  for (int first = 0; first < tokens; first += chunk) {
    const int end = std::min(first + chunk, tokens), block = pages.num_blocks();
    pages.Slide(first, tokens - 1, block);
    SKIPSTONE_CHECK(pages.Grow(end < tokens ? end : room));
    visit(first, end - first, block);
  }
}

struct PageNeed {
  int64_t most = 0;    // while the prompt runs
  int64_t behind = 0;  // then, until the last step
};

PageNeed NeedOf(const BenchOptions& options, const SkipSet& skip, int tokens, int room) {
  PagePool pool(int64_t{BlocksFor(room, options.page_tokens)} * skip.KeptAttention());
  SequencePages pages(pool, skip, options.page_tokens);
  PageNeed need;
  TakePages(tokens, room, options.chunk, pages,
            [&](int, int, int) { need.most = std::max(need.most, pages.num_pages()); });
  pages.Slide(tokens, tokens, pages.num_blocks());
  need.behind = pages.num_pages();
  return need;
}

}  // namespace

BenchArm::BenchArm(const BenchOptions& options, std::vector<SkipSet> skips, int vocab,
                   int first_slot, PagePool& pool)
    : options_(options),
      skips_(std::move(skips)),
      vocab_(vocab),
      prefill_slot_(first_slot),
      prefill_pages_(pool, skips_[0], options.page_tokens) {
  greedy_.temperature = 0;
  if (options.steps == 0) return;
  decode_pages_.reserve(options.batch);
  for (int i = 0; i < options.batch; ++i) {
    decode_pages_.emplace_back(pool, skips_[i % skips_.size()], options.page_tokens);
  }
}

int64_t BenchArm::PagesNeeded(const BenchOptions& options, std::span<const SkipSet> skips) {
  std::vector<PageNeed> needs;
  for (const SkipSet& skip : skips) {
    needs.push_back(NeedOf(options, skip, options.context, options.context + options.steps));
  }
  int64_t pages = 0, while_filled = 0;  // one sequence after the other is
  for (int i = 0; options.steps > 0 && i < options.batch; ++i) {
    const PageNeed& need = needs[i % needs.size()];
    while_filled = std::max(while_filled, pages + need.most);
    pages += need.behind;
  }
  pages = std::max(pages, while_filled);
  if (skips.size() > 1) return pages;
  return pages + NeedOf(options, skips[0], options.prompt, options.prompt).most;
}

int64_t BenchArm::decode_pages() const {
  int64_t pages = 0;
  for (int i = 0; i < std::ssize(decode_pages_); ++i) {
    pages += PagesFor(int64_t{options_.context} + options_.steps, SkipOf(prefill_slot_ + 1 + i),
                      options_.page_tokens);
  }
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

// The slot's sequence from its beginning; the last row draws a token.
std::vector<StepPlan> BenchArm::ChunkPlans(int slot, const SkipSet& skip, int tokens, int room,
                                           SequencePages& pages) const {
  std::vector<StepPlan> plans;
  pages.Release();
  TakePages(tokens, room, options_.chunk, pages, [&](int first, int count, int block) {
    StepPlan& plan = plans.emplace_back();
    if (first == 0) plan.slot_starts.push_back({.slot = slot, .sampling = &greedy_});
    AddChunk(slot, skip, first, count, &plan);
    SendPages(slot, pages, block, &plan);
    if (first + count == tokens) return;
    plan.chunks[0].logits_rows = 0;
    plan.chunks[0].samples = false;
    plan.chunks[0].silent_after = tokens - 1 - (first + count);
  });
  return plans;
}

void BenchArm::SendPages(int slot, const SequencePages& pages, int first_block,
                         StepPlan* plan) const {
  for (int block = first_block; block < pages.num_blocks(); ++block) {
    for (int i = 0; i < std::ssize(pages.layers()); ++i) {
      const PageId page = pages.page(block, i);
      if (page == kNoPage) continue;
      plan->page_updates.push_back({slot, pages.layers()[i], block, page});
    }
  }
}

std::vector<StepPlan> BenchArm::PrefillPlans() {
  if (mixed()) return {};
  return ChunkPlans(prefill_slot_, skips_[0], options_.prompt, options_.prompt, prefill_pages_);
}

// Every sequence has pages of its own, since shared ones would be read from caches. What they hold
// does not matter, so the MLPs, most of the work, are left out.
std::vector<StepPlan> BenchArm::FillPlans() {
  std::vector<StepPlan> plans;
  for (int i = 0; i < std::ssize(decode_pages_); ++i) {
    const int slot = prefill_slot_ + 1 + i;
    SkipSet skip = SkipOf(slot);
    for (int layer = 0; layer < skip.num_layers(); ++layer) skip.SkipMlp(layer);
    SequencePages& pages = decode_pages_[i];
    std::vector<StepPlan> chunks =
        ChunkPlans(slot, skip, options_.context, options_.context + options_.steps, pages);
    pages.Slide(options_.context, options_.context, pages.num_blocks());
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
