#include "engine/schedule/scheduler.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "engine/base/check.h"

namespace skipstone {

bool Scheduler::Before::operator()(const Sequence* a, const Sequence* b) const {
  return std::tuple(a->Precedence(), a->spec.id) < std::tuple(b->Precedence(), b->spec.id);
}

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), pool_(options.num_pages), index_(pool_, options.page_tokens) {
  SKIPSTONE_CHECK(options.max_batch_tokens >= 1 && options.max_sequences >= 1);
  for (int slot = options.max_sequences - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

void Scheduler::Add(SequenceSpec spec) {
  const SequenceId id = spec.id;
  auto sequence = std::make_unique<Sequence>(std::move(spec), pool_, options_.page_tokens);
  SKIPSTONE_CHECK(sequence->RowsWanted() >= 1);
  SKIPSTONE_CHECK(sequence->pages.MissingPages(sequence->MaxStored()) <= pool_.size());
  waiting_.insert(sequence.get());
  SKIPSTONE_CHECK(sequences_.emplace(id, std::move(sequence)).second);
}

bool Scheduler::Remove(SequenceId id) {
  const auto it = sequences_.find(id);
  if (it == sequences_.end()) return false;
  Leave(*it->second);
  waiting_.erase(it->second.get());
  sequences_.erase(it);
  return true;
}

const Sequence* Scheduler::Find(SequenceId id) const {
  const auto it = sequences_.find(id);
  return it == sequences_.end() ? nullptr : it->second.get();
}

StepPlan Scheduler::Next() {
  StepPlan plan;
  plan.id = next_plan_++;
  int prefill_budget = 0;
  PlanRunning(&plan, &prefill_budget);
  // After a preemption the pages are short: whoever was admitted now would be the next victim.
  if (plan.preemptions == 0) Admit(&plan, &prefill_budget);
  return plan;
}

// Decode rows go first: what they leave of the budget is for prefill. A sequence becomes ready to
// decode by a prefill row within the budget, so decode rows alone never exceed it.
void Scheduler::PlanRunning(StepPlan* plan, int* prefill_budget) {
  const std::vector<Sequence*> running(running_.begin(), running_.end());
  *prefill_budget = options_.max_batch_tokens;
  for (const Sequence* sequence : running) {
    if (!sequence->AllPlanned() && sequence->DecodeReady()) --*prefill_budget;
  }
  SKIPSTONE_CHECK(*prefill_budget >= 0);
  for (Sequence* sequence : running) {
    // Not running: preempted for one before it.
    if (!sequence->running() || sequence->AllPlanned()) continue;
    const bool decode = sequence->DecodeReady();
    const int rows = decode ? 1 : std::min(sequence->RowsLeft(), *prefill_budget);
    if (rows == 0 || !GrowOrPreempt(*sequence, sequence->planned + rows, plan)) continue;
    if (!decode) *prefill_budget -= rows;
    AddChunk(*sequence, rows, plan);
  }
}

void Scheduler::Admit(StepPlan* plan, int* prefill_budget) {
  int64_t reserved = ReservedPages();
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (*prefill_budget == 0 || free_slots_.empty()) return;
    Sequence& sequence = **it++;
    if (WaitsForItsLeader(sequence)) continue;
    // A preempted sequence whose last token is still being sampled cannot be recomputed yet.
    if (sequence.in_flight > 0) return;
    Adopt(sequence);
    const int64_t wanted = AdmissionPages(sequence);
    if (!MakeRoom(wanted + reserved)) {
      sequence.pages.Release();
      sequence.cursor.Reset();
      return;
    }
    const int64_t adopted = sequence.pages.num_pages();
    Start(sequence, plan);
    const int rows = std::min(sequence.RowsLeft(), *prefill_budget);
    Grow(sequence, sequence.planned + rows, plan);
    *prefill_budget -= rows;
    AddChunk(sequence, rows, plan);
    reserved += wanted - (sequence.pages.num_pages() - adopted);
  }
}

// The outputs of a request follow each other in id. The later ones wait until the first has entered
// the prompt's blocks into the cache, so that they share its pages instead of computing their own.
bool Scheduler::WaitsForItsLeader(const Sequence& sequence) const {
  if (!options_.prefix_cache || sequence.spec.output_index == 0 || sequence.preemptions > 0) {
    return false;
  }
  const Sequence* leader = Find(sequence.spec.id - sequence.spec.output_index);
  if (!leader || sequence.pages.layers().empty()) return false;
  return leader->cursor.blocks() < (leader->PromptTokens() - 1) / options_.page_tokens;
}

// Takes what the prefix cache has of a sequence that is about to start.
void Scheduler::Adopt(Sequence& sequence) {
  if (!options_.prefix_cache) return;
  tokens_.clear();
  const int blocks = sequence.FirstLogitsRow() / options_.page_tokens;
  sequence.AppendTokens(0, blocks * options_.page_tokens, &tokens_);
  sequence.cursor =
      index_.Adopt(tokens_, blocks, sequence.spec.skip, sequence.spec.cache_salt, sequence.pages);
}

void Scheduler::Start(Sequence& sequence, StepPlan* plan) {
  waiting_.erase(&sequence);
  running_.insert(&sequence);
  sequence.slot = free_slots_.back();
  free_slots_.pop_back();
  sequence.planned = sequence.pages.num_blocks() * options_.page_tokens;
  sequence.start_plan = plan->id;
  if (sequence.preemptions == 0) {
    sequence.cached_tokens = sequence.planned;
    plan->started.push_back(sequence.spec.id);
  }
  plan->prefix_query_tokens += sequence.RowsWanted();
  plan->prefix_hit_tokens += sequence.planned;
  plan->slot_starts.push_back({.slot = sequence.slot,
                               .output_index = sequence.spec.output_index,
                               .sampling = &sequence.spec.sampling,
                               .prompt = sequence.spec.prompt,
                               .output = sequence.output});
  SendPages(sequence, 0, plan);
}

// Pages that must be free for a start: those of the known tokens and of one more block.
int64_t Scheduler::AdmissionPages(const Sequence& sequence) const {
  const int tokens = std::min(sequence.RowsWanted() + options_.page_tokens, sequence.MaxStored());
  return sequence.pages.MissingPages(tokens);
}

// Pages that admission promised to sequences which still run their prompt.
int64_t Scheduler::ReservedPages() const {
  int64_t pages = 0;
  for (const Sequence* sequence : running_) {
    if (sequence->RowsLeft() > 0 && !sequence->DecodeReady()) pages += AdmissionPages(*sequence);
  }
  return pages;
}

// Room for `tokens` positions, if need be at the cost of running sequences of less precedence that
// have no rows in this plan. False if those do not suffice: the sequence then sits this step out.
bool Scheduler::GrowOrPreempt(Sequence& sequence, int tokens, StepPlan* plan) {
  while (!MakeRoom(sequence.pages.MissingPages(tokens))) {
    Sequence* victim = *running_.rbegin();
    if (victim == &sequence || victim->last_plan == plan->id) return false;
    Preempt(*victim, plan);
  }
  Grow(sequence, tokens, plan);
  return true;
}

// Evicts from the prefix cache until so many pages are free.
bool Scheduler::MakeRoom(int64_t pages) {
  while (pool_.free() < pages) {
    if (!index_.Evict()) return false;
  }
  return true;
}

void Scheduler::Grow(Sequence& sequence, int tokens, StepPlan* plan) {
  const int before = sequence.pages.num_blocks();
  SKIPSTONE_CHECK(sequence.pages.Grow(tokens));
  SendPages(sequence, before, plan);
}

// Tells the backend the pages of blocks [first_block, ...).
void Scheduler::SendPages(const Sequence& sequence, int first_block, StepPlan* plan) const {
  const std::vector<int16_t>& layers = sequence.pages.layers();
  for (int block = first_block; block < sequence.pages.num_blocks(); ++block) {
    for (int i = 0; i < static_cast<int>(layers.size()); ++i) {
      plan->page_updates.push_back({.slot = sequence.slot,
                                    .layer = layers[i],
                                    .block = block,
                                    .page = sequence.pages.page(block, i)});
    }
  }
}

void Scheduler::Preempt(Sequence& sequence, StepPlan* plan) {
  Leave(sequence);
  sequence.planned = 0;
  ++sequence.preemptions;
  ++plan->preemptions;
  waiting_.insert(&sequence);
}

// Gives slot and pages back, if it holds any.
void Scheduler::Leave(Sequence& sequence) {
  if (!sequence.running()) return;
  running_.erase(&sequence);
  free_slots_.push_back(sequence.slot);
  sequence.slot = -1;
  sequence.pages.Release();
  sequence.cursor.Reset();
}

void Scheduler::AddChunk(Sequence& sequence, int rows, StepPlan* plan) {
  const int begin = sequence.planned;
  const int end = begin + rows;
  SequenceChunk chunk{.sequence = sequence.spec.id,
                      .slot = sequence.slot,
                      .skip = &sequence.spec.skip,
                      .first_position = begin,
                      .num_rows = rows,
                      .first_token = static_cast<int32_t>(plan->tokens.size())};
  for (int position = begin; position < end; ++position) {
    plan->tokens.push_back(sequence.TokenAt(position));
  }
  chunk.samples = !sequence.spec.scores() && end == sequence.length();
  chunk.sample_top_n = sequence.spec.logprobs;
  chunk.prompt_top_n = std::max(0, sequence.spec.prompt_logprobs);
  // Rows of [first_wanted, end) that precede a prompt token deliver its log-probability.
  const int last_target_row = std::min(end, sequence.PromptTokens() - 1);
  const int first_wanted = std::max(begin, sequence.next_prompt_logprob);
  chunk.logits_rows = std::max(0, last_target_row - first_wanted) + (chunk.samples ? 1 : 0);
  chunk.last_row_has_target = !chunk.samples && chunk.logits_rows > 0;
  if (chunk.last_row_has_target) plan->tokens.push_back(sequence.TokenAt(end));
  sequence.next_prompt_logprob = std::max(sequence.next_prompt_logprob, last_target_row);
  sequence.planned = end;
  sequence.in_flight += chunk.samples ? 1 : 0;
  sequence.last_plan = plan->id;
  plan->num_rows += rows;
  plan->chunks.push_back(chunk);
}

std::vector<SequenceUpdate> Scheduler::Commit(const StepPlan& plan,
                                              std::span<const LogitsResult> results) {
  std::vector<SequenceUpdate> updates;
  for (const SequenceChunk& chunk : plan.chunks) {
    const auto rows = results.first(chunk.logits_rows);
    results = results.subspan(chunk.logits_rows);
    if (!sequences_.contains(chunk.sequence)) continue;  // ended meanwhile: an overrun row
    SequenceUpdate update = CommitChunk(plan.id, chunk, rows);
    if (update.end != SequenceEnd::kNone) Remove(update.id);
    if (update.sampled || !update.prompt.empty() || update.end != SequenceEnd::kNone) {
      updates.push_back(std::move(update));
    }
  }
  return updates;
}

SequenceUpdate Scheduler::CommitChunk(uint64_t plan_id, const SequenceChunk& chunk,
                                      std::span<const LogitsResult> results) {
  Sequence& sequence = *sequences_.at(chunk.sequence);
  EnterBlocks(sequence, plan_id, chunk);
  const SequenceSpec& spec = sequence.spec;
  SequenceUpdate update;
  update.id = spec.id;
  update.preemptions = sequence.preemptions;
  const size_t targets = results.size() - (chunk.samples ? 1 : 0);
  update.prompt.assign(results.begin(), results.begin() + targets);
  if (chunk.samples) {
    const int32_t token = results.back().sampled.id;
    update.sampled = results.back();
    sequence.output.push_back(token);
    --sequence.in_flight;
    const auto& stops = spec.stop_ids;
    if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
      update.end = SequenceEnd::kStopToken;
    } else if (static_cast<int>(sequence.output.size()) >= spec.max_tokens) {
      update.end = SequenceEnd::kLength;
    }
  } else if (spec.scores() && chunk.first_position + chunk.num_rows == sequence.RowsWanted()) {
    update.end = SequenceEnd::kScored;
  }
  return update;
}

// Blocks that this step completed become known to the prefix cache, now that they are written.
void Scheduler::EnterBlocks(Sequence& sequence, uint64_t plan_id, const SequenceChunk& chunk) {
  // Preempted since: the pages that the step wrote are not the sequence's any more.
  if (!options_.prefix_cache || !sequence.running() || sequence.start_plan > plan_id) return;
  const int written = chunk.first_position + chunk.num_rows;
  const int size = options_.page_tokens;
  for (int block = sequence.cursor.blocks(); (block + 1) * size <= written; ++block) {
    tokens_.clear();
    sequence.AppendTokens(block * size, (block + 1) * size, &tokens_);
    index_.Insert(sequence.cursor, tokens_, sequence.pages);
  }
}

std::vector<SequenceId> Scheduler::PastDeadline(Time now) const {
  std::vector<SequenceId> ids;
  for (const auto& [id, sequence] : sequences_) {
    if (sequence->spec.deadline <= now) ids.push_back(id);
  }
  return ids;
}

std::vector<SequenceId> Scheduler::PastTimeLimit(Time now) const {
  std::vector<SequenceId> ids;
  for (const auto& [id, sequence] : sequences_) {
    if (sequence->spec.time_limit <= now) ids.push_back(id);
  }
  return ids;
}

}  // namespace skipstone
