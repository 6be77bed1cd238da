// Divides the time of a step among the sequences that shared it, by the work each caused
// (SEMANTICS "Intervals and attribution"). Work is counted in bytes that have to be read:
//
//   - an equal part of every weight matrix that the sequence's rows needed,
//   - the multiply-adds of its rows, in reads of the weights that take as long,
//   - the K/V that its rows attend to.
//
// Rows are counted as liveness runs them. Integers and plans only; the step thread makes all calls.
#pragma once

#include <span>
#include <vector>

#include "engine/schedule/model_work.h"
#include "engine/schedule/row_kinds.h"
#include "engine/schedule/step_plan.h"

namespace skipstone {

class Attribution {
 public:
  Attribution(const ModelWork& work, int page_tokens) : work_(work), kinds_(page_tokens) {}

  // One share per chunk of the plan, which has some; they add up to 1. Valid until the next call.
  // O(kinds of rows x (chunks + layers)).
  std::span<const double> Shares(const StepPlan& plan);

 private:
  // The rows of one kind, and the chunks none of whose rows goes further: they need the same
  // weights.
  struct Group {
    double row = 0;  // bytes that one row costs
    int chunks = 0;
    double weights = 0;        // bytes, one chunk's part
    int full_layers = 0;       // in which their rows attend to all positions
    int windowed_layers = 0;   // and to windows
    double window_tokens = 0;  // of these, added up
  };

  void CountChunks(const StepPlan& plan);
  void WeighLayer(int layer, std::span<const SkipSet> sets);
  double PositionsReadBy(const SequenceChunk& chunk, const Group& group) const;

  const ModelWork work_;
  RowKinds kinds_;
  std::vector<Group> groups_;      // by kind
  std::vector<int32_t> furthest_;  // by chunk: the kind of its rows that go furthest
  std::vector<double> shares_;
};

}  // namespace skipstone
