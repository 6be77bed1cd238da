// The ModelRunner that runs a Llama on a backend: lowers plans to row lists, runs Forward, brings
// results back into the plan's order.
#pragma once

#include <memory>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/make_backend.h"
#include "engine/model_runner.h"
#include "engine/schedule/attribution.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

struct RunnerOptions {
  StepLimits limits;
  // Sets that requests will bring, for steps of which an asynchronous backend prepares itself.
  std::vector<SkipSet> levels;
  bool liveness = true;  // false: every row runs through all kept sublayers (for tests)
};

// What the parts of the model weigh, for attributed times.
ModelWork ModelWorkOf(const LoadedModel& model);

// Allocates the backend's pages and buffers and, if it is asynchronous, warms it up.
absl::StatusOr<std::unique_ptr<ModelRunner>> MakeLlamaRunner(LoadedModel model,
                                                             const RunnerOptions& options);

}  // namespace skipstone
