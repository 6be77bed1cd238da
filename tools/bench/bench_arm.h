// The sequences of one arm of a benchmark, and the plans that run them: a prompt to prefill and a
// batch that decodes. An arm has one skip set, or several which its sequences take in turn; then it
// only decodes. Plans are made by hand, not by a scheduler, so that every repetition
// runs the same rows at the same positions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/kv/page_pool.h"
#include "engine/kv/sequence_pages.h"
#include "engine/schedule/step_plan.h"
#include "tools/bench/options.h"

namespace skipstone {

class BenchArm {
 public:
  // Takes slots [first_slot, first_slot + SlotsFor(options)) and, as plans are made, its pages from
  // the pool, of which PagesNeeded are its own. The options must outlive the arm; one skip set at
  // least. Plans must be run in the order in which they are made: windows give pages back, which
  // later plans take.
  BenchArm(const BenchOptions& options, std::vector<SkipSet> skips, int vocab, int first_slot,
           PagePool& pool);

  static int SlotsFor(const BenchOptions& options) { return options.batch + 1; }
  static int64_t PagesNeeded(const BenchOptions& options, std::span<const SkipSet> skips);

  // Run once: K/V of `context` tokens for every sequence that decodes. Then each has the pages that
  // all steps need, so that they can be repeated.
  std::vector<StepPlan> FillPlans();
  // The measured prompt, in chunks; the last row draws a token. Empty without a prompt and for
  // several skip sets.
  std::vector<StepPlan> PrefillPlans();
  // Steps first, first + 1, ... of the decoding. In step i each sequence runs the token that it
  // sampled last, whatever that is, at position context + i.
  std::vector<StepPlan> DecodePlans(int first, int count);

  bool mixed() const { return skips_.size() > 1; }
  // The skip set, canonical, or "mixed".
  std::string name() const { return mixed() ? "mixed" : skips_[0].ToString(); }
  // Pages that the sequences which decode have to hold after the last step.
  int64_t decode_pages() const;

 private:
  const SkipSet& SkipOf(int slot) const;
  int32_t TokenAt(int slot, int position) const;
  void AddChunk(int slot, const SkipSet& skip, int first, int count, StepPlan* plan) const;
  std::vector<StepPlan> ChunkPlans(int slot, const SkipSet& skip, int tokens, int room,
                                   SequencePages& pages) const;
  void SendPages(int slot, const SequencePages& pages, int first_block, StepPlan* plan) const;

  const BenchOptions& options_;
  const std::vector<SkipSet> skips_;
  const int vocab_;
  const int prefill_slot_;
  SequencePages prefill_pages_;
  std::vector<SequencePages> decode_pages_;  // slot prefill_slot_ + 1 + i
  SamplingParams greedy_;
};

}  // namespace skipstone
