// One simulated server: the engine's Scheduler, driven as the step loop drives it, with a cost
// model in place of a device. Time is given, never read.
//
//   replica.Add(spec);
//   replica.Launch(now);
//   ... at replica.next_end():
//   for (const SequenceUpdate& update : replica.EndStep()) ...
//   replica.Launch(now);
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/clock.h"
#include "engine/schedule/scheduler.h"
#include "engine/schedule/step_times.h"
#include "tools/sim/cost_model.h"

namespace skipstone {

// One thread.
class Replica {
 public:
  // `max_in_flight`: plans launched and not committed, as ModelRunner::max_in_flight.
  Replica(const SchedulerOptions& options, const CostModel& cost, int max_in_flight);

  // Under load a sequence that allows it starts at its ceiling; returns whether this one does.
  bool Add(SequenceSpec spec);
  // Plans steps until max_in_flight are under way. The device runs them one after the other.
  // Calls `started` with each sequence that starts for the first time.
  template <class Started>
  void Launch(Time now, Started started) {
    while (static_cast<int>(steps_.size()) < max_in_flight_ && LaunchStep(now)) {
      for (const SequenceId id : steps_.back().plan.started) started(*scheduler_.Find(id));
    }
  }

  // When the oldest step ends; kNever if none is under way.
  Time next_end() const { return steps_.empty() ? kNever : steps_.front().end; }
  // Commits the oldest step. Valid until the next call.
  std::span<SequenceUpdate> EndStep();

  int requests() const { return scheduler_.num_running() + scheduler_.num_waiting(); }
  int num_waiting() const { return scheduler_.num_waiting(); }
  const PagePool& pool() const { return scheduler_.pool(); }
  int64_t steps() const { return num_steps_; }
  int64_t rows() const { return num_rows_; }
  Duration busy() const { return busy_; }

 private:
  struct Step {
    StepPlan plan;
    Duration time;
    Time end;
  };

  bool LaunchStep(Time now);
  std::span<const LogitsResult> MakeResults(const StepPlan& plan);

  Scheduler scheduler_;
  CostModel cost_;
  StepTimes step_times_;
  const int max_in_flight_;
  std::deque<Step> steps_;
  StepPlan spare_;                     // whose memory the next plan takes
  std::vector<LogitsResult> results_;  // scratch
  Duration busy_{};
  int64_t num_steps_ = 0;
  int64_t num_rows_ = 0;
};

}  // namespace skipstone
