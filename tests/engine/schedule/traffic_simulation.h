// Runs a list of operations against a Scheduler and a runner that reads what lies in the pages, and
// checks after every one of them all that must hold. Then no more arrives, and all must end.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/engine/schedule/random_traffic.h"
#include "tests/engine/schedule/schedule_checks.h"
#include "tests/support/fake_runner.h"

namespace skipstone {

// What the traffic brought about, so that a test can tell that it tested something.
struct TrafficCounts {
  int64_t operations = 0;
  int added = 0;
  int completed = 0;
  int preemptions = 0;
  int shed_layers = 0;
  int browned_out = 0;
  int expired = 0;
  int unreachable = 0;
  int64_t prefix_hits = 0;
  int64_t shared_pages = 0;
};

class TrafficSimulation {
 public:
  explicit TrafficSimulation(const TrafficSetting& setting);

  // One more check, after every operation.
  std::function<Failure(const TrafficSimulation&)> extra_check;

  // Once per object. The first failure, with the operation at which it showed.
  Failure Run(std::span<const Operation> operations);
  const TrafficCounts& counts() const { return counts_; }

 private:
  struct Live {
    SequenceSpec spec;
    std::vector<int32_t> tokens;  // prompt and output
    std::vector<AppliedRange> applied;
    int prompt_results = 0;
  };

  Failure Apply(const Operation& operation);
  void Add(const Operation& operation);
  void Remove(const Operation& operation);
  void End(SequenceId id);
  Failure Plan();
  Failure Commit();
  Failure CheckUpdate(const SequenceUpdate& update);
  Failure CheckPromptResults(const SequenceUpdate& update, Live* live);
  Failure CheckApplied(const SequenceUpdate& update, Live* live);
  Failure CheckToken(const SequenceUpdate& update, Live* live);
  Failure CheckEnd(const SequenceUpdate& update, const Live& live) const;
  Failure Expire(const Operation& operation);
  Failure CheckPast(const std::vector<SequenceId>& ids, Time SequenceSpec::*limit, Time now) const;
  Failure CheckAll();
  Failure Drain();
  std::vector<SequenceId> LiveIds() const;

  const TrafficSetting setting_;
  const SchedulerOptions options_;
  Scheduler scheduler_;
  FakeRunner runner_;
  PageChecks page_checks_;
  PlanChecks plan_checks_;
  double prefill_limit_;
  std::deque<StepPlan> in_flight_;
  std::map<SequenceId, Live> live_;
  SequenceId next_id_ = 1;
  TrafficCounts counts_;
};

}  // namespace skipstone
