#include "engine/schedule/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace skipstone {
namespace {

std::vector<SequenceId> PastOf(const std::set<std::pair<Time, SequenceId>>& expiries, Time now) {
  std::vector<SequenceId> ids;
  for (auto it = expiries.begin(); it != expiries.end() && it->first <= now; ++it) {
    ids.push_back(it->second);
  }
  return ids;
}

// The first output of its request, of a later one; null if there is none.
Sequence* LeaderOf(const Sequence& sequence) {
  if (sequence.spec.output_index == 0 || !sequence.spec.group) return nullptr;
  Sequence* const first = sequence.spec.group->sequences.front();
  return first->spec.output_index == 0 ? first : nullptr;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options),
      kv_(options),
      waiting_(options.fair_share),
      shadows_(options),
      slots_(options.max_sequences, nullptr) {
  SKIPSTONE_CHECK(options.max_batch_tokens >= 1 && options.max_sequences >= 1);
  for (int slot = options.max_sequences - 1; slot >= 0; --slot) free_slots_.push_back(slot);
  running_.reserve(options.max_sequences);
}

void Scheduler::Add(SequenceSpec spec) {
  const SequenceId id = spec.id;
  auto owned = std::make_unique<Sequence>(std::move(spec), kv_.pool(), options_.page_tokens);
  Sequence& sequence = *owned;
  SKIPSTONE_CHECK(sequences_.emplace(id, std::move(owned)).second);
  SKIPSTONE_CHECK(sequence.RowsWanted() >= 1);
  SKIPSTONE_CHECK(sequence.pages.MissingAtMost(sequence.MaxStored()) <= pool().size());
  sequence.Weigh(options_.work);
  longest_prompt_ = std::max(longest_prompt_, sequence.PromptTokens());
  if (sequence.spec.deadline != kNever) deadlines_.emplace(sequence.spec.deadline, id);
  if (sequence.spec.time_limit != kNever) time_limits_.emplace(sequence.spec.time_limit, id);
  if (sequence.spec.group) sequence.spec.group->sequences.push_back(&sequence);
  Sequence* const leader = LeaderOf(sequence);
  waiting_.Add(sequence, leader && !kv_.PromptEntered(*leader) ? leader : nullptr);
}

bool Scheduler::Remove(SequenceId id) {
  const auto it = sequences_.find(id);
  if (it == sequences_.end()) return false;
  Sequence& sequence = *it->second;
  if (sequence.running()) StopRunning(sequence);
  if (blocked_ == &sequence) blocked_ = nullptr;
  waiting_.End(sequence);
  deadlines_.erase({sequence.spec.deadline, id});
  time_limits_.erase({sequence.spec.time_limit, id});
  if (sequence.spec.group) std::erase(sequence.spec.group->sequences, &sequence);
  sequences_.erase(it);
  return true;
}

const Sequence* Scheduler::Find(SequenceId id) const {
  const auto it = sequences_.find(id);
  return it == sequences_.end() ? nullptr : it->second.get();
}

StepPlan Scheduler::Next(StepPlan recycled) {
  StepPlan plan = std::move(recycled);
  plan.Clear();
  plan.id = next_plan_++;
  Budget budget{};
  PlanRunning(&plan, &budget);
  // Now the pages are short: whoever was admitted would be the next to give way.
  const bool short_of_pages = plan.preemptions > 0 || plan.shed_layers > 0;
  if (!short_of_pages) Admit(&plan, &budget);
  PlanShadows(&plan);
  if (!plan.empty()) kv_.SendExchanged(&plan.page_updates);
  return plan;
}

// Where nobody waits and no prompt runs.
void Scheduler::PlanShadows(StepPlan* plan) {
  if (waiting_.size() > 0 || plan->prefill_work > 0) return;
  const int rows = plan->decode_rows > 0 ? options_.shadow_rows_beside : options_.shadow_rows;
  shadows_.Plan(std::min(rows, options_.max_batch_tokens - plan->decode_rows), kv_, free_slots_,
                plan);
}

void Scheduler::AddShadow(ShadowSpec spec) { shadows_.Add(std::move(spec), pool()); }

void Scheduler::DropShadows() { shadows_.DropAll(kv_, free_slots_); }

double Scheduler::ShedLevel() const {
  int64_t asked = 0;
  int64_t seen = 0;
  for (const Sequence* sequence : running_) {
    asked += sequence->spec.asked_full;
    seen += std::min(sequence->spec.asked_full, sequence->skip.FullAttention());
  }
  return asked == 0 ? 0 : 1.0 - static_cast<double>(seen) / static_cast<double>(asked);
}

// Decode rows go first: what they leave of the budget is for prefill. A sequence becomes ready to
// decode by a row that draws a token and costs 1, so decode rows alone never exceed the budget.
void Scheduler::PlanRunning(StepPlan* plan, Budget* budget) {
  int decode_rows = 0;
  for (const Sequence* sequence : running_) {
    decode_rows += !sequence->AllPlanned() && sequence->DecodeReady() ? 1 : 0;
  }
  const int left = options_.max_batch_tokens - decode_rows;
  SKIPSTONE_CHECK(left >= 0);
  budget->work = decode_rows > 0 ? std::min<double>(left, prefill_limit_) : left;
  budget->rows = kMaxRowsPerWork * options_.max_batch_tokens - decode_rows;
  // Preemption takes the last of them away.
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (sequence.AllPlanned()) continue;
    const int rows = sequence.DecodeReady() ? 1
                                            : kv_.RowsThatFit(sequence, RowsFor(sequence, *budget),
                                                              kv_.unowned_pages());
    if (rows == 0 || !GrowOrPreempt(sequence, sequence.planned + rows, plan)) continue;
    AddChunk(sequence, rows, plan, budget);
  }
}

void Scheduler::Admit(StepPlan* plan, Budget* budget) {
  if (waiting_.First() == nullptr) return;
  int64_t reserved = ReservedPages();
  while (Sequence* sequence = waiting_.First()) {
    // A preempted sequence whose last token is still being sampled cannot be recomputed yet.
    if (sequence->in_flight > 0) return;
    if (free_slots_.empty() && !shadows_.DropRunning(kv_, free_slots_)) return;
    if (sequence == blocked_ && kv_.unowned_pages() < blocked_pages_ + reserved &&
        !shadows_.DropRunning(kv_, free_slots_)) {
      return;
    }
    const int rows = PlaceIn(*sequence, *budget, reserved);
    if (rows == 0 && sequence == blocked_ && shadows_.DropRunning(kv_, free_slots_)) continue;
    if (rows == 0) return;
    Start(*sequence, plan);
    kv_.Grow(*sequence, sequence->planned + rows, &plan->page_updates);
    reserved += kv_.AdmissionPages(*sequence);
    AddChunk(*sequence, rows, plan, budget);
  }
}

// Takes what the prefix cache has, and returns how many rows can run: 0, and nothing taken, if the
// budget or the pages do not suffice.
int Scheduler::PlaceIn(Sequence& sequence, const Budget& budget, int64_t reserved) {
  if (budget.rows == 0 || budget.work < std::ranges::min(sequence.row_work)) return 0;
  const int64_t unowned = kv_.unowned_pages();
  kv_.Adopt(sequence);
  const int rows = RowsFor(sequence, budget);
  const int64_t wanted = kv_.AdmissionPages(sequence);
  if (rows > 0 && kv_.MakeRoom(wanted + reserved)) {
    // A window's rows take more pages while they run than they leave.
    const int fit = kv_.RowsThatFit(sequence, rows, kv_.unowned_pages() - reserved);
    SKIPSTONE_CHECK(kv_.MakeRoom(sequence.pages.MissingPages(sequence.planned + fit)));
    return fit;
  }
  if (rows > 0) {
    blocked_ = &sequence;
    blocked_pages_ = wanted + unowned - kv_.unowned_pages();
  }
  kv_.Release(sequence);
  return 0;
}

void Scheduler::Start(Sequence& sequence, StepPlan* plan) {
  waiting_.Start(sequence);
  blocked_ = nullptr;
  const auto place = std::ranges::upper_bound(running_, &sequence, Sequence::Before());
  running_.insert(place, &sequence);
  sequence.slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[sequence.slot] = &sequence;
  sequence.start_plan = plan->id;
  sequence.output.reserve(sequence.spec.scores() ? 0 : sequence.spec.max_tokens);
  sequence.pages.Reserve(sequence.MaxStored());
  if (sequence.preemptions == 0) {
    sequence.cached_tokens = sequence.planned;
    plan->started.push_back(sequence.spec.id);
    waiting_.Serve(sequence, sequence.RowsLeft());
    plan->prefix_query_tokens += options_.prefix_cache ? sequence.RowsWanted() : 0;
    plan->prefix_hit_tokens += sequence.planned;
  }
  plan->slot_starts.push_back({.slot = sequence.slot,
                               .output_index = sequence.spec.output_index,
                               .sampling = &sequence.spec.sampling,
                               .prompt = sequence.spec.prompt,
                               .output = sequence.output});
  KvManager::SendPages(sequence, 0, sequence.pages.num_blocks(), &plan->page_updates);
}

// Pages that admission promised to sequences which still run their prompt.
int64_t Scheduler::ReservedPages() const {
  int64_t pages = 0;
  for (const Sequence* sequence : running_) {
    if (sequence->RowsLeft() > 0 && !sequence->DecodeReady()) {
      pages += kv_.AdmissionPages(*sequence);
    }
  }
  return pages;
}

// Room for `tokens` positions. If need be at the cost of others that have no rows in this plan:
// first of attention layers that may be shed, then of running sequences of less precedence. False
// if those do not suffice: the sequence then sits this step out.
bool Scheduler::GrowOrPreempt(Sequence& sequence, int tokens, StepPlan* plan) {
  while (!kv_.MakeRoom(sequence.pages.MissingPages(tokens))) {
    if (shadows_.DropRunning(kv_, free_slots_)) continue;
    if (ShedFor(sequence, tokens, plan)) continue;
    // The last that has pages to give; those behind `sequence` have no rows in this plan.
    const auto victim = std::find_if(running_.rbegin(), running_.rend(), [&](const Sequence* s) {
      return s == &sequence || s->pages.num_pages() > 0;
    });
    if (*victim == &sequence) return false;
    Preempt(**victim, plan);
  }
  kv_.Grow(sequence, tokens, &plan->page_updates);
  return true;
}

// Sheds layers of the sequence of least precedence that allows it, at last of `sequence` itself,
// until there are pages for `tokens` positions or it has none to give. False if none does.
bool Scheduler::ShedFor(const Sequence& sequence, int tokens, StepPlan* plan) {
  for (auto it = running_.rbegin(); it != running_.rend(); ++it) {
    Sequence& giver = **it;
    if (Sequence::Before()(&giver, &sequence)) break;
    const int64_t unowned = kv_.unowned_pages();
    int layers = 0;
    // A page that others share would not be free.
    while (giver.PagesToShed() > 0 && kv_.unowned_pages() < sequence.pages.MissingPages(tokens)) {
      giver.Shed();
      kv_.Slide(giver);
      giver.Weigh(options_.work);
      ++layers;
    }
    if (layers == 0) continue;
    plan->shed_layers += layers;
    plan->shed_pages += kv_.unowned_pages() - unowned;
    return true;
  }
  return false;
}

void Scheduler::Preempt(Sequence& sequence, StepPlan* plan) {
  StopRunning(sequence);
  ++sequence.preemptions;
  ++plan->preemptions;
  waiting_.Return(sequence);
}

// Gives slot and pages back.
void Scheduler::StopRunning(Sequence& sequence) {
  running_.erase(std::ranges::lower_bound(running_, &sequence, Sequence::Before()));
  slots_[sequence.slot] = nullptr;
  free_slots_.push_back(sequence.slot);
  kv_.Release(sequence);
  sequence.slot = -1;
}

void Scheduler::AddChunk(Sequence& sequence, int rows, StepPlan* plan, Budget* budget) {
  if (sequence.DecodeReady()) {
    ++plan->decode_rows;
  } else {
    const double work = sequence.WorkOf(rows);
    plan->prefill_work += work;
    budget->work -= work;
    budget->rows -= rows;
  }
  sequence.PlanRows(rows, plan);
}

std::span<SequenceUpdate> Scheduler::Commit(const StepPlan& plan,
                                            std::span<const LogitsResult> results) {
  updates_.clear();
  for (const SequenceChunk& chunk : plan.chunks) {
    const auto rows = results.first(chunk.logits_rows);
    results = results.subspan(chunk.logits_rows);
    if (chunk.shadow) {
      shadows_.Commit(chunk, rows, kv_, free_slots_);
      continue;
    }
    Sequence* sequence = InSlot(chunk);
    if (sequence == nullptr) continue;  // ended meanwhile: an overrun row
    SequenceUpdate& update = updates_.emplace_back();
    CommitChunk(*sequence, plan.id, chunk, rows, &update);
    if (update.end != SequenceEnd::kNone) {
      Remove(update.id);
    } else if (!update.sampled && update.prompt.empty()) {
      updates_.pop_back();
    }
  }
  return updates_;
}

// Whose chunk it is; null if that has ended. It may have been preempted since.
Sequence* Scheduler::InSlot(const SequenceChunk& chunk) const {
  Sequence* sequence = slots_[chunk.slot];
  if (sequence != nullptr && sequence->spec.id == chunk.sequence) return sequence;
  const auto it = sequences_.find(chunk.sequence);
  return it == sequences_.end() ? nullptr : it->second.get();
}

void Scheduler::CommitChunk(Sequence& sequence, uint64_t plan_id, const SequenceChunk& chunk,
                            std::span<const LogitsResult> results, SequenceUpdate* update) {
  const SequenceSpec& spec = sequence.spec;
  update->id = spec.id;
  update->group = spec.group;
  update->output_index = spec.output_index;
  update->preemptions = sequence.preemptions;
  const auto broken = std::ranges::find(results, false, &LogitsResult::finite);
  if (broken != results.end()) {
    update->end = SequenceEnd::kNonFinite;
    update->position =
        chunk.first_position + chunk.num_rows - static_cast<int>(results.end() - broken);
    update->skip = sequence.skip;
    return;
  }
  // Preempted since, the pages that the step wrote are not the sequence's any more.
  if (sequence.running() && sequence.start_plan <= plan_id) {
    kv_.EnterBlocks(sequence, chunk.first_position + chunk.num_rows);
    kv_.Slide(sequence);
    if (!sequence.followers.empty() && kv_.PromptEntered(sequence)) {
      WaitQueue::ReleaseFollowers(sequence);
    }
    // What a prompt has entered may be what the blocked sequence lacks.
    if (chunk.first_position < sequence.PromptTokens()) blocked_ = nullptr;
  }
  const size_t targets = results.size() - (chunk.samples ? 1 : 0);
  update->prompt.assign(results.begin(), results.begin() + targets);
  if (chunk.samples) {
    update->sampled = results.back();
    update->applied = sequence.TakeApplied();
    update->end = sequence.AddToken(results.back().sampled.id);
    waiting_.Serve(sequence, 1);
  } else if (spec.scores() && chunk.first_position + chunk.num_rows == sequence.RowsWanted()) {
    update->end = SequenceEnd::kScored;
  }
}

std::vector<SequenceId> Scheduler::PastDeadline(Time now) const { return PastOf(deadlines_, now); }

std::vector<SequenceId> Scheduler::PastTimeLimit(Time now) const {
  return PastOf(time_limits_, now);
}

std::vector<SequenceId> Scheduler::Unreachable(Time now, double prefill_rate) {
  std::vector<SequenceId> ids;
  if (prefill_rate <= 0) return ids;
  const auto least = [&](double work) {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(work / prefill_rate));
  };
  for (const auto& [deadline, id] : deadlines_) {
    if (deadline >= now + least(longest_prompt_)) break;
    Sequence& sequence = *sequences_.at(id);
    if (!sequence.never_ran()) continue;
    if (deadline >= now + least(sequence.WorkOf(sequence.RowsLeft()))) continue;
    kv_.Adopt(sequence);  // what the prefix cache has need not run
    if (deadline < now + least(sequence.WorkOf(sequence.RowsLeft()))) ids.push_back(id);
    kv_.Release(sequence);
  }
  return ids;
}

}  // namespace skipstone
