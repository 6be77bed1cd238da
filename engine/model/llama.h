// Llama 2's forward pass for one step, top to bottom (SEMANTICS "The model").
#pragma once

#include "engine/backend/backend.h"
#include "engine/model/weights.h"

namespace skipstone {

// Runs the stages of `step`, whose BeginStep has been called. A sublayer without rows is left out:
// that is all there is to skipping here.
void Forward(const StepInput& step, const Weights& weights, Backend& backend);

}  // namespace skipstone
