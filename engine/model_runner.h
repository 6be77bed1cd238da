// Executes step plans. The seam between scheduling (integers) and the device; faked in tests.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/schedule/step_plan.h"
#include "engine/step/sampling.h"

namespace skipstone {

struct StepResults {
  absl::Status status;  // not OK: the device is lost
  // One per row that needs logits, in the plan's order: chunk by chunk, by position.
  std::vector<LogitsResult> logits;
  int64_t rows_eliminated = 0;
};

// The step thread makes all calls.
class ModelRunner {
 public:
  virtual ~ModelRunner() = default;
  // Enqueues a step and returns. At most max_in_flight() steps may be launched and not collected.
  // The plan may die after the call; the skip sets and sampling parameters it points to too.
  virtual void Launch(const StepPlan& plan) = 0;
  // Waits for the oldest launched step.
  virtual StepResults Collect() = 0;
  virtual int max_in_flight() const = 0;
  // What its backend holds. Constant.
  virtual BackendUsage Usage() const { return {}; }
};

}  // namespace skipstone
