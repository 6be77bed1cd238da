// Lowers a step plan to rows in execution order and the row lists of every layer, as
// skip/liveness has it: here a skip set turns into work that is or is not done.
//
// Row order: rows that need logits by ascending k, then the others by descending k, with k the last
// layer whose attention the row's request keeps. For every mix of attn:last=K sets each list of
// each layer is then one contiguous range.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/schedule/step_plan.h"
#include "engine/skip/liveness.h"
#include "engine/step/step_input.h"

namespace skipstone {

// Reused from step to step. Not thread-safe.
class RowLists {
 public:
  // With liveness off every row runs through all sublayers that its request keeps (for tests).
  RowLists(int num_layers, bool liveness) : num_layers_(num_layers), liveness_(liveness) {}

  void Build(const StepPlan& plan);

  // Views into this object and into the plan; valid until the next Build.
  StepInput input() const;
  // plan_order()[i]: place of logits row i among the plan's logits rows.
  std::span<const int32_t> plan_order() const { return plan_order_; }
  // (row, sublayer) pairs that requests keep and that liveness left out.
  int64_t rows_eliminated() const { return rows_eliminated_; }

 private:
  // All rows of one skip set that need logits, or all that do not: they take part in the same
  // lists.
  struct Group {
    const SkipSet* skip;
    bool logits;
    bool runs;
    int32_t count = 0;     // rows
    int32_t chunks = 0;    // that have such rows
    int32_t begin = 0;     // first row, in row order
    int32_t next_row = 0;  // of the chunk that is filled in next
    int32_t next_run = 0;
  };

  void CountGroups(const StepPlan& plan);
  void OrderGroups();
  // Rows of one chunk in one group; `results`: place of the first one, if it needs logits, among
  // the plan's logits rows.
  void FillRows(const SequenceChunk& chunk, Group& group, int32_t first, int32_t count,
                int32_t results);
  LogitsRow LogitsOf(const SequenceChunk& chunk, int32_t row) const;
  LayerRows ListsOf(int layer);
  RowList MakeList(bool LayerParts::*part);

  const int num_layers_;
  const bool liveness_;
  const StepPlan* plan_ = nullptr;
  std::vector<Group> groups_;         // 2 * set + (1: need logits)
  std::vector<int32_t> group_order_;  // groups that run, in row order
  std::vector<LayerParts> in_layer_;  // what a layer does with each of them
  std::vector<int32_t> tokens_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> slots_;
  std::vector<LogitsRow> logits_;
  std::vector<int32_t> plan_order_;
  std::vector<RowRun> runs_;
  std::vector<LayerRows> layers_;
  std::vector<int32_t> index_;  // of all lists that are not ranges; never reallocated in Build
  int64_t rows_eliminated_ = 0;
};

}  // namespace skipstone
