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
#include "engine/schedule/step_plan.h"

namespace skipstone {

class Attribution {
 public:
  explicit Attribution(const ModelWork& work) : work_(work) {}

  // One share per chunk of the plan, which has some; they add up to 1. Valid until the next call.
  // O(chunks x distinct skip sets + distinct skip sets x layers).
  std::span<const double> Shares(const StepPlan& plan);

 private:
  // The chunks of one skip set of which some rows need logits, or those of which none does: they
  // need the same weights.
  struct Group {
    const SkipSet* skip;
    bool logits;
    int chunks = 0;
    double weights = 0;     // bytes, one chunk's part
    double live_row = 0;    // bytes that one row costs which needs logits
    double silent_row = 0;  // and one that does not
    int attend_layers = 0;
  };

  static size_t GroupOf(const SequenceChunk& chunk) {
    return 2 * chunk.set + (chunk.logits_rows > 0 ? 1 : 0);
  }
  void WeighLayer(int layer);

  const ModelWork work_;
  std::vector<Group> groups_;  // by GroupOf
  std::vector<double> shares_;
};

}  // namespace skipstone
