// Lowers a step plan to rows in execution order and the row lists of every layer, as
// skip/liveness has it: here a skip set turns into work that is or is not done.
//
// Row order: rows that need logits by ascending k, the last layer whose attention their request
// keeps, then the others by descending last layer (skip/liveness). For every mix of attn:last=K and
// win:last=K sets each list of each layer is then one contiguous range.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/schedule/row_kinds.h"
#include "engine/schedule/step_plan.h"
#include "engine/skip/liveness.h"
#include "engine/step/step_input.h"

namespace skipstone {

// Reused from step to step. Not thread-safe.
class RowLists {
 public:
  // `maps`: those of each layer, all that sets may name; empty: none. With liveness off every row
  // runs through all sublayers that its request keeps (for tests).
  RowLists(int num_layers, int page_tokens, bool liveness, std::vector<LayerMaps> maps = {})
      : num_layers_(num_layers), liveness_(liveness), maps_(std::move(maps)), kinds_(page_tokens) {}

  void Build(const StepPlan& plan);

  // Views into this object and into the plan; valid until the next Build.
  StepInput input() const;
  // plan_order()[i]: place of logits row i among the plan's logits rows.
  std::span<const int32_t> plan_order() const { return plan_order_; }
  // (row, sublayer) pairs that requests keep and that liveness left out.
  int64_t rows_eliminated() const { return rows_eliminated_; }

 private:
  // The rows of one kind: they take part in the same lists.
  struct Group {
    int32_t count = 0;     // rows
    int32_t runs = 0;      // of consecutive ones
    int32_t begin = 0;     // first row, in row order
    int32_t next_row = 0;  // of the run that is filled in next
    int32_t next_run = 0;
  };

  const SkipSet& SkipOf(int32_t kind) const { return plan_->sets[kinds_.kinds()[kind].set]; }
  // kAllLayers: the rows need logits.
  int LastOf(int32_t kind) const { return kinds_.kinds()[kind].last; }
  // Whether rows of the kind are run at all.
  bool Runs(int32_t kind) const { return LastOf(kind) >= 0 || !liveness_; }
  void CountRows();
  void OrderGroups();
  void FillWindows();
  // Rows of one chunk at positions [begin, end); `results`: place of the chunk's first logits row
  // among the plan's.
  void FillRows(const SequenceChunk& chunk, int32_t kind, int begin, int end, int32_t results);
  void FillReferences();
  LogitsRow LogitsOf(const SequenceChunk& chunk, int32_t row) const;
  LayerRows ListsOf(int layer);
  // Those of group_order_ for which `takes` (place in group_order_) holds.
  template <class Takes>
  RowList MakeList(Takes takes);
  // The rows of each of the layer's maps; empty if none has any.
  std::span<const RowList> MapLists(bool LayerParts::*part, std::span<const uint64_t> maps,
                                    uint64_t (SkipSet::*map_of)(int) const, int layer);

  const int num_layers_;
  const bool liveness_;
  const std::vector<LayerMaps> maps_;  // [num_layers] or empty
  RowKinds kinds_;
  const StepPlan* plan_ = nullptr;
  std::vector<Group> groups_;         // by kind
  std::vector<int32_t> group_order_;  // kinds that run, in row order
  std::vector<LayerParts> in_layer_;  // what a layer does with each of them
  std::vector<int32_t> tokens_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> slots_;
  std::vector<int32_t> row_sets_;
  std::vector<int32_t> windows_;  // [set][layer]; empty if no set has any
  std::vector<LogitsRow> logits_;
  std::vector<int32_t> plan_order_;
  std::vector<int32_t> row_of_result_;  // the inverse, where rows have references
  std::vector<RowRun> runs_;
  std::vector<LayerRows> layers_;
  std::vector<RowList> map_lists_;  // of all layers; never reallocated in Build
  std::vector<int32_t> index_;      // of all lists that are not ranges; never reallocated in Build
  int64_t rows_eliminated_ = 0;
};

}  // namespace skipstone
