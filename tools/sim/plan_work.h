// Counts what each layer of a step has to do straight from the plan: the same numbers as WorkOf
// over the plan's RowLists with liveness, for any mix of skip sets, without making a row.
//
//   work.Count(plan);
//   for (const PlanWork::LayerGroup& group : work.groups()) ... work.Layer(group.layer) ...
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "engine/schedule/row_kinds.h"
#include "engine/schedule/step_plan.h"
#include "tools/bench/step_cost.h"

namespace skipstone {

// Reused from step to step. Not thread-safe.
class PlanWork {
 public:
  // Layers that every skip set met so far treats alike: they have equal work in any step.
  struct LayerGroup {
    int layer = 0;  // the first of them
    int count = 0;
  };

  PlanWork(int num_layers, int page_tokens);

  // O(kinds of rows x distinct windows) for each chunk.
  void Count(const StepPlan& plan);

  // Of the plan counted last.
  LayerWork Layer(int layer) const;
  int64_t rows() const;  // that exist at all: with no attention kept, those that need logits
  int64_t logits_rows() const;

  const std::vector<LayerGroup>& groups() const { return groups_; }

 private:
  // What rows of one kind see through one window.
  struct Seen {
    int64_t pairs = 0;
    int64_t positions = 0;  // beside those that rows of their sequence which go further see
  };
  struct Tally {
    int64_t rows = 0;
    absl::InlinedVector<Seen, 2> seen;  // by the set's windows
  };
  struct Run {
    int32_t kind;
    int begin;  // position
    int end;
  };
  using Windows = absl::InlinedVector<int, 2>;

  void Take(const StepPlan& plan);
  void CountChunk(const SequenceChunk& chunk);
  void MakeGroups();

  const int num_layers_;
  const int page_tokens_;
  RowKinds kinds_;
  std::vector<SkipSet> sets_;     // of the plan
  std::vector<Windows> windows_;  // by set: those of its kept layers, each once
  std::vector<Tally> tallies_;    // by kind
  std::vector<Run> runs_;         // scratch
  std::vector<SkipSet> met_;
  std::vector<LayerGroup> groups_;
};

}  // namespace skipstone
