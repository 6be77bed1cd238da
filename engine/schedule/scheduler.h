// Decides which rows the next step runs: admission by pages, chunked prefill under a budget of
// work, growth, shedding of layers, preemption by recompute. Arithmetic on integers and given
// times: no device, no thread, no clock, no tokenizer. The step thread makes all calls.
//
//   scheduler.Add(spec);
//   StepPlan plan = scheduler.Next();
//   for (const SequenceUpdate& update : scheduler.Commit(plan, results)) ...
//
// Next may be called with one plan uncommitted: it assumes that every sequence in flight goes on,
// and Commit drops the overrun row of one that did not.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/schedule/kv_manager.h"
#include "engine/schedule/scheduler_options.h"
#include "engine/schedule/sequence.h"
#include "engine/schedule/shadow_queue.h"
#include "engine/schedule/step_plan.h"
#include "engine/schedule/wait_queue.h"
#include "engine/step/sampling.h"

namespace skipstone {

// What a committed step brought to one sequence.
struct SequenceUpdate {
  SequenceId id = 0;
  std::shared_ptr<SequenceGroup> group;
  int output_index = 0;
  std::vector<LogitsResult> prompt;     // log-probabilities of prompt tokens, in order
  std::optional<LogitsResult> sampled;  // the new token
  std::vector<AppliedRange> applied;    // skip sets that came into force up to this token
  SequenceEnd end = SequenceEnd::kNone;
  int position = -1;    // kNonFinite: of the row whose logits were not; nothing else was brought
  SkipSet skip;         // kNonFinite: in force
  int preemptions = 0;  // so far
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // The sequence waits. Its MaxStored() tokens must fit the empty pool.
  void Add(SequenceSpec spec);
  // Ends a sequence at once; its pages and slot are free for later plans. False if it has ended.
  bool Remove(SequenceId id);
  // What was served is scored once more when nobody else has rows to run; TakeShadows says how it
  // ended.
  void AddShadow(ShadowSpec spec);
  void DropShadows();
  bool HasShadows() const { return !shadows_.empty(); }
  std::vector<ShadowQueue::Ended> TakeShadows() { return shadows_.TakeEnded(); }
  // The load is above one of the brown-out marks.
  bool Overloaded() const {
    return waiting_.size() > options_.brownout_waiting ||
           pool().used() > options_.brownout_pages * static_cast<double>(pool().size());
  }

  // Empty if there is nothing to run. `recycled`: a plan that is done, whose memory is used again.
  StepPlan Next(StepPlan recycled = {});
  // `results`: one per logits row, in the plan's order. Plans are committed in order. Sequences
  // that ended are removed. Valid until the next call.
  std::span<SequenceUpdate> Commit(const StepPlan& plan, std::span<const LogitsResult> results);

  // Bounds the prefill work of steps that have decode rows. Below 1 no prompt gets on.
  void LimitPrefill(double work) { prefill_limit_ = work; }

  // Sequences whose deadline, or time limit, has come.
  std::vector<SequenceId> PastDeadline(Time now) const;
  std::vector<SequenceId> PastTimeLimit(Time now) const;
  // Sequences that wait and cannot have their first token by their deadline, not even if they
  // started now, alone, at so much prefill work per second. At 0 none.
  std::vector<SequenceId> Unreachable(Time now, double prefill_rate);

  // Null if it has ended.
  const Sequence* Find(SequenceId id) const;
  // Whose chunk of an uncommitted plan it is; null if that has ended.
  const Sequence* Of(const SequenceChunk& chunk) const { return InSlot(chunk); }
  // Any that has not ended; null if there is none.
  const Sequence* Any() const {
    return sequences_.empty() ? nullptr : &*sequences_.begin()->second;
  }
  const PagePool& pool() const { return kv_.pool(); }
  int num_running() const { return static_cast<int>(running_.size()); }
  int num_waiting() const { return waiting_.size(); }
  // Of the full attention that the running sequences asked for, the share that they were started
  // without or have shed.
  double ShedLevel() const;
  template <class Use>
  void ForEachRunning(Use use) const {
    for (const Sequence* sequence : running_) use(*sequence);
  }

 private:
  using Expiries = std::set<std::pair<Time, SequenceId>>;
  // What a step may still take.
  struct Budget {
    double work;
    int rows;
  };

  static int RowsFor(const Sequence& sequence, const Budget& budget) {
    return std::min(sequence.RowsWithin(budget.work), budget.rows);
  }
  void PlanShadows(StepPlan* plan);
  void PlanRunning(StepPlan* plan, Budget* budget);
  void Admit(StepPlan* plan, Budget* budget);
  int PlaceIn(Sequence& sequence, const Budget& budget, int64_t reserved);
  void Start(Sequence& sequence, StepPlan* plan);
  bool GrowOrPreempt(Sequence& sequence, int tokens, StepPlan* plan);
  bool ShedFor(const Sequence& sequence, int tokens, StepPlan* plan);
  void Preempt(Sequence& sequence, StepPlan* plan);
  void AddChunk(Sequence& sequence, int rows, StepPlan* plan, Budget* budget);
  void StopRunning(Sequence& sequence);
  int64_t ReservedPages() const;
  Sequence* InSlot(const SequenceChunk& chunk) const;
  void CommitChunk(Sequence& sequence, uint64_t plan_id, const SequenceChunk& chunk,
                   std::span<const LogitsResult> results, SequenceUpdate* update);

  const SchedulerOptions options_;
  KvManager kv_;
  WaitQueue waiting_;
  ShadowQueue shadows_;
  std::unordered_map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  std::vector<Sequence*> running_;  // by precedence
  std::vector<Sequence*> slots_;    // who runs there
  std::vector<int32_t> free_slots_;
  Expiries deadlines_;
  Expiries time_limits_;
  std::vector<SequenceUpdate> updates_;
  double prefill_limit_ = std::numeric_limits<double>::infinity();
  int longest_prompt_ = 0;  // so far
  // The sequence that could not start for lack of pages, and how many without an owner it takes:
  // until there are so many, or a prompt has entered the prefix cache, trying again is in vain.
  const Sequence* blocked_ = nullptr;
  int64_t blocked_pages_ = 0;
  uint64_t next_plan_ = 1;
};

}  // namespace skipstone
