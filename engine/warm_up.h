// Steps of every kind before the first request: what a device does at the first sight of a step
// (tuning products, recording launches) must not hold up those who wait for a token.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/model_runner.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

// Runs decode steps of `levels` and of the model without skipping, and prompts of every size, with
// tokens, slots and pages that mean nothing: what they leave behind is overwritten before it is
// read, as what an ended sequence leaves. Returns the first device error. Step thread only, before
// all other steps.
absl::Status WarmUp(const ModelShape& shape, const StepLimits& limits,
                    std::span<const SkipSet> levels, ModelRunner& runner);

}  // namespace skipstone
