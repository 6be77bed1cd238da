// The sequences of one skip set in a benchmark, and the plans that run them: a prompt to prefill
// and a batch that decodes. Plans are made by hand, not by a scheduler, so that every repetition
// runs the same rows at the same positions.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/bench/options.h"
#include "engine/kv/page_pool.h"
#include "engine/kv/sequence_pages.h"
#include "engine/schedule/step_plan.h"

namespace skipstone {

class BenchArm {
 public:
  // Takes slots [first_slot, first_slot + SlotsFor(options)) and its pages from the pool, which
  // must have PagesNeeded free. The options must outlive the arm.
  BenchArm(const BenchOptions& options, const SkipSet& skip, int vocab, int first_slot,
           PagePool& pool);

  static int SlotsFor(const BenchOptions& options) { return options.batch + 1; }
  static int64_t PagesNeeded(const BenchOptions& options, const SkipSet& skip);

  // Run once, in order: K/V of `context` tokens for every sequence that decodes.
  std::vector<StepPlan> FillPlans();
  // The measured prompt, in chunks; the last row draws a token. Empty without a prompt.
  std::vector<StepPlan> PrefillPlans();
  // Step i of the decoding: one token of each sequence at position context + i.
  StepPlan DecodePlan(int i);

  const SkipSet& skip() const { return skip_; }
  // Pages of the sequences that decode, after the last step.
  int64_t decode_pages() const;

 private:
  int32_t TokenAt(int slot, int position) const;
  void AddChunk(int slot, int first, int count, bool samples, StepPlan* plan) const;
  std::vector<StepPlan> ChunkPlans(int slot, int tokens) const;
  void SendPages(int slot, const SequencePages& pages, StepPlan* plan) const;

  const BenchOptions& options_;
  const SkipSet skip_;
  const int vocab_;
  const int prefill_slot_;
  SequencePages prefill_pages_;
  std::vector<SequencePages> decode_pages_;  // slot prefill_slot_ + 1 + i
  SamplingParams greedy_;
};

}  // namespace skipstone
