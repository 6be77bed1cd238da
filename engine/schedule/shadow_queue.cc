#include "engine/schedule/shadow_queue.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace skipstone {
namespace {

SequenceSpec SpecOf(const ShadowSpec& shadow, bool full) {
  // The likeliest token of each row is wanted, too.
  return {.id = shadow.id + (full ? 1 : 0),
          .prompt = shadow.tokens,
          .skip = full ? SkipSet(shadow.skip.num_layers()) : shadow.skip,
          .score_from = shadow.score_from,
          .prompt_logprobs = 1,
          .cache_salt = shadow.cache_salt};
}

// Windows give no page back before the end.
int64_t MostPages(const ShadowSpec& shadow, int page_tokens) {
  return BlocksFor(std::ssize(shadow.tokens) - 1, page_tokens) *
         (shadow.skip.KeptAttention() + shadow.skip.num_layers());
}

}  // namespace

ShadowQueue::Pair::Pair(const ShadowSpec& spec, PagePool& pool, const SchedulerOptions& options)
    : level(SpecOf(spec, false), pool, options.page_tokens),
      full(SpecOf(spec, true), pool, options.page_tokens) {}

void ShadowQueue::Add(ShadowSpec spec, const PagePool& pool) {
  SKIPSTONE_CHECK(spec.score_from >= 1 && spec.score_from < std::ssize(spec.tokens));
  // Or it would wait for ever.
  const bool never_runs =
      std::min({options_.shadow_rows, options_.max_batch_tokens, options_.max_sequences}) < 2;
  if (never_runs || MostPages(spec, options_.page_tokens) > pool.size()) {
    ended_.push_back({.id = spec.id});
    return;
  }
  waiting_.push_back(std::move(spec));
  if (waiting_.size() <= kMostWaiting) return;
  ended_.push_back({.id = waiting_.front().id});
  waiting_.pop_front();
}

bool ShadowQueue::Start(KvManager& kv, std::vector<int32_t>& free_slots, StepPlan* plan) {
  if (running_) return true;
  if (waiting_.empty() || free_slots.size() < 2) return false;
  running_.emplace(waiting_.front(), kv.pool(), options_);
  waiting_.pop_front();
  for (Sequence* sequence : {&running_->full, &running_->level}) {
    sequence->slot = free_slots.back();
    free_slots.pop_back();
    sequence->Weigh(options_.work);
    kv.Adopt(*sequence);
    plan->slot_starts.push_back({.slot = sequence->slot,
                                 .sampling = &sequence->spec.sampling,
                                 .prompt = sequence->spec.prompt});
    KvManager::SendPages(*sequence, 0, sequence->pages.num_blocks(), &plan->page_updates);
  }
  return true;
}

void ShadowQueue::Plan(int rows, KvManager& kv, std::vector<int32_t>& free_slots, StepPlan* plan) {
  if (rows < 2 || !Start(kv, free_slots, plan)) return;
  Sequence& level = running_->level;
  Sequence& full = running_->full;
  if (level.RowsLeft() == 0) return;  // all is under way
  Sequence& behind = level.planned < full.planned ? level : full;
  const int apart = std::max(level.planned, full.planned) - behind.planned;
  const bool fits = apart > 0 ? PlanAlone(behind, std::min(rows, apart), kv, plan)
                              : PlanBoth(std::min(rows / 2, level.RowsLeft()), kv, plan);
  if (fits) return;
  const auto of_pair = [&](const auto& what) {
    return what.slot == level.slot || what.slot == full.slot;
  };
  std::erase_if(plan->slot_starts, of_pair);
  std::erase_if(plan->page_updates, of_pair);
  DropRunning(kv, free_slots);
}

bool ShadowQueue::PlanAlone(Sequence& sequence, int rows, KvManager& kv, StepPlan* plan) {
  const int end = sequence.planned + rows;
  if (!kv.MakeRoom(sequence.pages.MissingPages(end))) return false;
  kv.Grow(sequence, end, &plan->page_updates);
  sequence.PlanRows(rows, plan);
  plan->chunks.back().shadow = true;
  plan->shadow_rows += rows;
  return true;
}

bool ShadowQueue::PlanBoth(int rows, KvManager& kv, StepPlan* plan) {
  Sequence& level = running_->level;
  Sequence& full = running_->full;
  const int end = level.planned + rows;
  if (!kv.MakeRoom(level.pages.MissingPages(end) + full.pages.MissingPages(end))) return false;
  const auto reference = static_cast<int32_t>(plan->chunks.size());
  SKIPSTONE_CHECK(PlanAlone(full, rows, kv, plan) && PlanAlone(level, rows, kv, plan));
  plan->chunks.back().reference = reference;
  return true;
}

void ShadowQueue::Commit(const SequenceChunk& chunk, std::span<const LogitsResult> results,
                         KvManager& kv, std::vector<int32_t>& free_slots) {
  if (!running_) return;
  const bool of_level = chunk.sequence == running_->level.spec.id;
  if (!of_level && chunk.sequence != running_->full.spec.id) return;
  if (!std::ranges::all_of(results, &LogitsResult::finite)) {
    DropRunning(kv, free_slots);
    return;
  }
  auto& rows = of_level ? running_->rows.level : running_->rows.full;
  rows.insert(rows.end(), results.begin(), results.end());
  const size_t all = running_->level.PromptTokens() - running_->level.spec.score_from;
  if (running_->rows.level.size() < all || running_->rows.full.size() < all) return;
  ended_.push_back({.id = running_->level.spec.id, .rows = std::move(running_->rows)});
  Release(kv, free_slots);
}

void ShadowQueue::Release(KvManager& kv, std::vector<int32_t>& free_slots) {
  for (Sequence* sequence : {&running_->level, &running_->full}) {
    kv.Release(*sequence);
    free_slots.push_back(sequence->slot);
  }
  running_.reset();
}

bool ShadowQueue::DropRunning(KvManager& kv, std::vector<int32_t>& free_slots) {
  if (!running_) return false;
  ended_.push_back({.id = running_->level.spec.id});
  Release(kv, free_slots);
  return true;
}

void ShadowQueue::DropAll(KvManager& kv, std::vector<int32_t>& free_slots) {
  DropRunning(kv, free_slots);
  for (const ShadowSpec& spec : waiting_) ended_.push_back({.id = spec.id});
  waiting_.clear();
}

}  // namespace skipstone
