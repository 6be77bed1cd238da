// Counts what each layer of a step has to do straight from the plan: the same numbers as WorkOf
// over the plan's RowLists with liveness, for any mix of skip sets, without making a row.
//
//   work.Count(plan);
//   for (const PlanWork::LayerGroup& group : work.groups()) ... work.Layer(group.layer) ...
#pragma once

#include <cstdint>
#include <vector>

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

  explicit PlanWork(int num_layers);

  void Count(const StepPlan& plan);

  // Of the plan counted last.
  LayerWork Layer(int layer) const;
  int64_t rows() const;  // that exist at all: with no attention kept, those that need logits
  int64_t logits_rows() const;

  const std::vector<LayerGroup>& groups() const { return groups_; }

 private:
  struct Sums {
    int64_t rows = 0;
    int64_t read_positions = 0;
    int64_t pairs = 0;
  };
  // The chunks of one skip set.
  struct Tally {
    SkipSet skip;
    Sums all;     // of all rows
    Sums logits;  // of the rows that need logits

    // Those that run a part, given whether the others run it too.
    const Sums& Of(bool others) const { return others ? all : logits; }
  };

  size_t TallyOf(const SkipSet& skip);
  void MakeGroups();

  const int num_layers_;
  std::vector<Tally> tallies_;
  std::vector<size_t> tally_of_;  // by set of the plan
  std::vector<LayerGroup> groups_;
};

}  // namespace skipstone
