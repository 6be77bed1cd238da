// One simulated server: the engine's Planner with a cost model in place of a device. Time is given,
// never read.
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
#include "engine/engine_observer.h"
#include "engine/schedule/planner.h"
#include "tools/sim/cost_model.h"

namespace skipstone {

// One thread.
class Replica {
 public:
  // `max_in_flight`: as Planner.
  Replica(const SchedulerOptions& options, const CostModel& cost, int max_in_flight);

  // Under load a sequence that allows it starts at its ceiling; returns whether this one does.
  bool Add(SequenceSpec spec) { return planner_.Add({&spec, 1}); }
  // Plans steps until max_in_flight are under way. The device runs them one after the other.
  // Calls `started` with each sequence that starts for the first time.
  template <class Started>
  void Launch(Time now, Started started) {
    while (Planner::Step* step = planner_.Next()) {
      step->launched = now;
      RunOnDevice(*step);
      for (const SequenceId id : step->plan.started) started(*scheduler().Find(id));
    }
  }

  // When the oldest step ends; kNever if none is under way.
  Time next_end() const { return ends_.empty() ? kNever : ends_.front(); }
  // Commits the oldest step. Valid until the next call.
  std::span<SequenceUpdate> EndStep();

  int requests() const { return scheduler().num_running() + scheduler().num_waiting(); }
  int num_waiting() const { return scheduler().num_waiting(); }
  // What a server says of itself, with no more of it than a simulated one has.
  EngineLoad load() const {
    return {.running = scheduler().num_running(),
            .waiting = scheduler().num_waiting(),
            .pages = {.total = pool().size(), .used = pool().used(), .cached = pool().cached()},
            .shed_level = scheduler().ShedLevel()};
  }
  const PagePool& pool() const { return scheduler().pool(); }
  int64_t steps() const { return num_steps_; }
  int64_t rows() const { return num_rows_; }
  Duration busy() const { return busy_; }

 private:
  void RunOnDevice(const Planner::Step& step);
  const Scheduler& scheduler() const { return planner_.scheduler(); }
  std::span<const LogitsResult> MakeResults(const StepPlan& plan);

  Planner planner_;
  CostModel cost_;
  std::deque<Time> ends_;              // of the steps under way
  std::vector<LogitsResult> results_;  // scratch
  Duration busy_{};
  int64_t num_steps_ = 0;
  int64_t num_rows_ = 0;
};

}  // namespace skipstone
