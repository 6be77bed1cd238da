// What must hold between any two calls of a scheduler, and of any plan that it makes. Failures are
// values, so that a failing list of operations can be run again quietly while it is cut down.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/schedule/row_lists.h"
#include "engine/schedule/scheduler.h"

namespace skipstone {

// What is wrong; nothing if all is well.
using Failure = std::optional<std::string>;

// Pages are conserved; each has the holders that its references say, and no two that would expect
// different content; each sequence holds what the rows still to be planned read under the set in
// force.
class PageChecks {
 public:
  explicit PageChecks(int page_tokens) : page_tokens_(page_tokens) {}

  Failure Check(const Scheduler& scheduler, std::span<const SequenceId> live);
  int64_t shared_pages() const { return shared_pages_; }

 private:
  struct Holder {
    const Sequence* sequence = nullptr;
    int block = 0;
    int layer = 0;
    int holders = 0;
  };

  Failure CheckHeld(const Sequence& sequence) const;
  Failure CountHolders(const Sequence& sequence);
  bool SameContent(const Holder& a, const Holder& b) const;

  const int page_tokens_;
  int64_t shared_pages_ = 0;
  std::vector<Holder> pages_;
};

// The scheduler just before it plans, and what the plan must be, seen from there.
class PlanChecks {
 public:
  // `maps`: those of each layer that sets name.
  PlanChecks(const SchedulerOptions& options, int num_layers, const std::vector<LayerMaps>& maps)
      : options_(options),
        maps_(maps),
        rows_(num_layers, options.page_tokens, /*liveness=*/true, maps) {}

  void Before(const Scheduler& scheduler, std::span<const SequenceId> live, double prefill_limit);
  Failure After(const Scheduler& scheduler, const StepPlan& plan);

 private:
  Failure CheckBudget(const StepPlan& plan) const;
  Failure CheckDecodeRows(const Scheduler& scheduler, const StepPlan& plan) const;
  Failure CheckShedFirst(const Scheduler& scheduler, const StepPlan& plan) const;
  Failure CheckStarts(const Scheduler& scheduler, const StepPlan& plan) const;
  Failure CheckWrites(const Scheduler& scheduler, const StepPlan& plan) const;
  Failure CheckRowLists(const StepPlan& plan);

  const SchedulerOptions options_;
  const std::vector<LayerMaps> maps_;
  RowLists rows_;
  double prefill_limit_ = 0;
  std::vector<SequenceId> decode_ready_;
  std::vector<SequenceId> waiting_;     // those that may start
  std::vector<SequenceId> could_shed_;  // running, and shedding would free pages
};

}  // namespace skipstone
