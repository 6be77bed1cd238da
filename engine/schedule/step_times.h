// What the steps that were measured say about those to come: how much prefill may share a step
// with decode rows, and how soon a prompt could be done at the best. Times come in as values.
// Not thread-safe: the step thread owns it.
#pragma once

#include "base/clock.h"
#include "engine/schedule/step_plan.h"

namespace skipstone {

class StepTimes {
 public:
  // `itl_bound`: what prefill may add to a step in which others decode; 0: no bound.
  // `max_batch_tokens`: work of a full step.
  StepTimes(Duration itl_bound, int max_batch_tokens)
      : itl_bound_(Seconds(itl_bound)), full_step_(max_batch_tokens) {}

  void Observe(const StepPlan& plan, Duration time);

  // Prefill work (StepPlan::prefill_work) that keeps within the bound, as far as past steps tell.
  // Never below 16 rows, since a prompt must get on; but 0, for one step, after many with prefill:
  // then the time of decode rows alone is measured.
  double PrefillLimit() const;

  // Prefill work per second of the fastest steps that were at least half full, since small steps
  // leave the machine idle; 0: not known yet.
  double BestPrefillRate() const { return full_steps_ >= kFewSteps ? best_rate_ : 0; }

 private:
  // The first steps of a process are slow: faults, clocks, caches.
  static constexpr int kFewSteps = 8;

  const double itl_bound_;
  const double full_step_;
  double decode_time_ = 0;   // s, of a step without prefill; exponential mean
  double work_time_ = 0;     // s that one unit of prefill work adds to a step; exponential mean
  double reached_work_ = 0;  // done beside decode rows of late
  double best_rate_ = 0;
  int full_steps_ = 0;
  int mixed_steps_ = 0;  // in a row
};

}  // namespace skipstone
