// Runs the steps of a benchmark and takes the samples of their times. As many steps are in flight
// as the runner allows: on a device the host's part of a step is hidden behind the step before it.
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model_runner.h"
#include "engine/schedule/row_lists.h"
#include "tools/bench/bench_result.h"
#include "tools/bench/step_cost.h"
#include "tools/bench/timed_backend.h"

namespace skipstone {

// Thread of the runner. All calls start and end with no step in flight. Errors: of the device.
class StepMeter {
 public:
  // `timed` is the runner's backend, null if stages are not timed. All must outlive the meter.
  StepMeter(ModelRunner& runner, TimedBackend* timed, const ModelShape& shape, int page_tokens,
            const ElementBytes& bytes)
      : runner_(runner),
        timed_(timed),
        shape_(shape),
        bytes_(bytes),
        rows_(shape.num_layers, page_tokens, /*liveness=*/true) {}

  // Of the samples to come; zeros: they get no floors.
  void set_ceilings(const Ceilings& ceilings) { ceilings_ = ceilings; }

  absl::Status RunUnmeasured(std::span<const StepPlan> plans);
  // One sample: from the first launch to the last result.
  absl::Status MeasureAll(std::span<const StepPlan> plans, Phase* phase);
  // A sample for each plan: the time from the result before it to its own. Where steps overlap the
  // first plan runs twice, the first time without a sample, as nothing hides its launch.
  absl::Status MeasureEach(std::span<const StepPlan> plans, Phase* phase);

 private:
  struct Lap {
    double launch_seconds = 0;  // of the host, within Launch
    Time done;
  };

  // The first plan `lead` times more, before all.
  absl::StatusOr<std::vector<Lap>> Execute(std::span<const StepPlan> plans, size_t lead);
  std::vector<StageCost> CostsOf(const StepPlan& plan);
  void SetCost(std::span<const StageCost> costs, Sample* sample) const;
  void AddStageCosts(std::span<const StageCost> costs, Phase* phase) const;
  absl::Status DropStageTimes();
  absl::Status TakeStageTimes(int runs, Phase* phase);

  ModelRunner& runner_;
  TimedBackend* const timed_;
  const ModelShape shape_;
  const ElementBytes bytes_;
  RowLists rows_;
  Ceilings ceilings_;
};

}  // namespace skipstone
