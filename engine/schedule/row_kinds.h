// The rows of a plan by what layers do with them: one kind for each skip set and last layer
// (skip/liveness). Whoever lists, weighs or counts rows goes by kinds.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/schedule/step_plan.h"
#include "engine/skip/liveness.h"

namespace skipstone {

// Reused from plan to plan: liveness is worked out when the sets change. Not thread-safe.
class RowKinds {
 public:
  struct Kind {
    int32_t set;  // among the plan's
    int last;     // kAllLayers: rows that need logits
  };

  explicit RowKinds(int page_tokens) : page_tokens_(page_tokens) {}

  void Take(const StepPlan& plan) {
    if (known_sets_ == plan.sets) return;
    known_sets_ = plan.sets;
    live_.clear();
    first_.clear();
    kinds_.clear();
    for (int32_t set = 0; set < std::ssize(plan.sets); ++set) {
      const Liveness& live = live_.emplace_back(plan.sets[set], page_tokens_);
      first_.push_back(static_cast<int32_t>(kinds_.size()));
      for (int kind = 0; kind < live.num_kinds(); ++kind) {
        kinds_.push_back({set, live.LastLayer(kind)});
      }
    }
  }

  // Of the plan taken last; each set's by descending last layer. There may be no row of a kind.
  std::span<const Kind> kinds() const { return kinds_; }

  // Calls visit(kind, begin, end) for the chunk's rows at positions [begin, end), in order of
  // position. `kind` is a place among kinds().
  template <class Visit>
  void ForEachRun(const SequenceChunk& chunk, Visit visit) const {
    live_[chunk.set].ForEachSpan(chunk.first_position, chunk.first_position + chunk.num_rows,
                                 chunk.FirstLogitsRow(), [&](const Liveness::Span& span) {
                                   visit(first_[chunk.set] + span.kind, span.begin, span.end);
                                 });
  }

 private:
  const int page_tokens_;
  std::vector<SkipSet> known_sets_;
  std::vector<Liveness> live_;  // by set
  std::vector<int32_t> first_;  // by set: its first kind
  std::vector<Kind> kinds_;
};

}  // namespace skipstone
