// The cheapest set that saves what is asked for: time of a decode step, or K/V pages.
#pragma once

#include "absl/status/statusor.h"
#include "engine/quality/trials.h"
#include "engine/schedule/model_work.h"
#include "tools/calibrate/options.h"

namespace skipstone::calibrate {

enum class Budget { kMilliseconds, kPages };

// What a step reads beside `context` tokens, and how long it takes, of the full model.
struct StepCost {
  ModelWork work;
  double milliseconds = 0;  // of a decode step of one sequence
};

// The costs of sublayers add up as if each were changed alone (single-removal KL, knapsack); what a
// change saves is its share of the bytes that a step reads (SEMANTICS: weights that its rows need,
// K/V of what they see). NOT_FOUND says what can be saved at the most.
absl::StatusOr<quality::Level> CheapestLevel(quality::Trials& trials,
                                             const CalibrateOptions& options,
                                             const CalibratePlan& plan, Budget budget,
                                             const StepCost& step);

}  // namespace skipstone::calibrate
