// Decides which rows the next step runs: admission by pages, chunked prefill under a row budget,
// growth, preemption by recompute. Arithmetic on integers and given times: no device, no thread,
// no clock, no tokenizer. The step thread makes all calls.
//
//   scheduler.Add(spec);
//   StepPlan plan = scheduler.Next();
//   for (const SequenceUpdate& update : scheduler.Commit(plan, results)) ...
//
// Next may be called with one plan uncommitted: it assumes that every sequence in flight goes on,
// and Commit drops the overrun row of one that did not.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/base/sampling.h"
#include "engine/kv/page_pool.h"
#include "engine/kv/prefix_index.h"
#include "engine/schedule/sequence.h"
#include "engine/schedule/step_plan.h"

namespace skipstone {

struct SchedulerOptions {
  int max_batch_tokens = 512;  // rows per step, >= 1
  int max_sequences = 256;     // slots, >= 1
  int page_tokens = 16;
  int64_t num_pages = 0;
  bool prefix_cache = true;
};

enum class SequenceEnd { kNone, kStopToken, kLength, kScored };

// What a committed step brought to one sequence.
struct SequenceUpdate {
  SequenceId id = 0;
  std::vector<LogitsResult> prompt;     // log-probabilities of prompt tokens, in order
  std::optional<LogitsResult> sampled;  // the new token
  SequenceEnd end = SequenceEnd::kNone;
  int preemptions = 0;  // so far
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // The sequence waits. Its MaxStored() tokens must fit the empty pool.
  void Add(SequenceSpec spec);
  // Ends a sequence at once; its pages and slot are free for later plans. False if it has ended.
  bool Remove(SequenceId id);

  // Empty if there is nothing to run.
  StepPlan Next();
  // `results`: one per logits row, in the plan's order. Plans are committed in order. Sequences
  // that ended are removed.
  std::vector<SequenceUpdate> Commit(const StepPlan& plan, std::span<const LogitsResult> results);

  // Sequences whose deadline, or time limit, has come.
  std::vector<SequenceId> PastDeadline(Time now) const;
  std::vector<SequenceId> PastTimeLimit(Time now) const;

  // Null if it has ended.
  const Sequence* Find(SequenceId id) const;
  const PagePool& pool() const { return pool_; }
  int num_running() const { return static_cast<int>(running_.size()); }
  int num_waiting() const { return static_cast<int>(waiting_.size()); }

 private:
  // Who goes first: the earlier Sequence::Precedence.
  struct Before {
    bool operator()(const Sequence* a, const Sequence* b) const;
  };

  void PlanRunning(StepPlan* plan, int* prefill_budget);
  void Admit(StepPlan* plan, int* prefill_budget);
  bool WaitsForItsLeader(const Sequence& sequence) const;
  void Adopt(Sequence& sequence);
  void Start(Sequence& sequence, StepPlan* plan);
  bool MakeRoom(int64_t pages);
  bool GrowOrPreempt(Sequence& sequence, int tokens, StepPlan* plan);
  void Grow(Sequence& sequence, int tokens, StepPlan* plan);
  void Preempt(Sequence& sequence, StepPlan* plan);
  void AddChunk(Sequence& sequence, int rows, StepPlan* plan);
  void Leave(Sequence& sequence);
  void SendPages(const Sequence& sequence, int first_block, StepPlan* plan) const;
  void EnterBlocks(Sequence& sequence, uint64_t plan_id, const SequenceChunk& chunk);
  int64_t ReservedPages() const;
  int64_t AdmissionPages(const Sequence& sequence) const;
  SequenceUpdate CommitChunk(uint64_t plan_id, const SequenceChunk& chunk,
                             std::span<const LogitsResult> results);

  const SchedulerOptions options_;
  PagePool pool_;
  PrefixIndex index_;
  std::unordered_map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  std::set<Sequence*, Before> waiting_;
  std::set<Sequence*, Before> running_;
  std::vector<int32_t> free_slots_;
  std::vector<int32_t> tokens_;  // scratch
  uint64_t next_plan_ = 1;
};

}  // namespace skipstone
