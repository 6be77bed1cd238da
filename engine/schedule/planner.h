// All that decides which steps run: the scheduler, brown-out, and what measured steps allow the
// next ones. The step loop runs its plans on a device, the simulator against a cost model. Times
// are given, never read. Not thread-safe: the step thread owns it.
//
//   planner.Add(specs);
//   while (Planner::Step* step = planner.Next()) step->launched = ...
//   for (SequenceUpdate& update : planner.Commit(now, results)) ...
#pragma once

#include <algorithm>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "engine/schedule/scheduler.h"
#include "engine/schedule/step_times.h"

namespace skipstone {

class Planner {
 public:
  // Under way: planned and not committed.
  struct Step {
    StepPlan plan;
    Time launched{};             // set by who launches it
    std::vector<double> shares;  // of the chunks in its time, for whoever divides it
  };

  // `max_in_flight`: steps under way, as ModelRunner::max_in_flight.
  Planner(const SchedulerOptions& options, int max_in_flight)
      : scheduler_(options),
        step_times_(options.itl_bound, options.max_batch_tokens),
        max_in_flight_(max_in_flight) {}

  // Takes all outputs of a request, which start with one set: under load, and where they allow it,
  // their ceiling. Returns whether that is another than was asked for.
  bool Add(std::span<SequenceSpec> outputs);
  // The next step; null if there is nothing to run, or enough is under way.
  Step* Next();
  // The oldest step ended at `now`. Valid until the next call; the step is not.
  std::span<SequenceUpdate> Commit(Time now, std::span<const LogitsResult> results);
  // The steps under way will never end.
  void Drop() { steps_.clear(); }

  bool idle() const { return steps_.empty(); }
  const Step& oldest() const { return steps_.front(); }
  // What the oldest step takes if it ends at `now`: behind another it began when that one ended.
  Duration TimeOfOldest(Time now) const { return now - std::max(oldest().launched, last_ended_); }
  // Scheduler::Unreachable, at the best rate that was measured.
  std::vector<SequenceId> Unreachable(Time now) {
    return scheduler_.Unreachable(now, step_times_.BestPrefillRate());
  }

  // See Scheduler.
  void AddShadow(ShadowSpec spec) { scheduler_.AddShadow(std::move(spec)); }
  void DropShadows() { scheduler_.DropShadows(); }
  std::vector<ShadowQueue::Ended> TakeShadows() { return scheduler_.TakeShadows(); }

  bool Remove(SequenceId id) { return scheduler_.Remove(id); }
  const Scheduler& scheduler() const { return scheduler_; }

 private:
  Scheduler scheduler_;
  StepTimes step_times_;
  const int max_in_flight_;
  std::deque<Step> steps_;
  Step spare_;  // whose memory the next step takes
  Time last_ended_{};
};

}  // namespace skipstone
