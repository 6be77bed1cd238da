// How long a step takes: the floors of its stages under the ceilings that the machine reaches, and
// a fixed part. Work is counted from the plan (PlanWork); nothing is executed.
#pragma once

#include <vector>

#include "base/clock.h"
#include "tools/sim/machine_profile.h"
#include "tools/sim/plan_work.h"

namespace skipstone {

// Reused from step to step. Not thread-safe.
class CostModel {
 public:
  CostModel(const ModelShape& shape, const MachineProfile& machine, int page_tokens)
      : shape_(shape), machine_(machine), work_(shape.num_layers, page_tokens) {}

  // At least a nanosecond, so that simulated time moves on.
  Duration TimeOf(const StepPlan& plan);

 private:
  const ModelShape shape_;
  const MachineProfile machine_;
  PlanWork work_;
  std::vector<StageCost> costs_;  // scratch
};

}  // namespace skipstone
