// How much of each map a level takes: least squares on states, or the weights themselves, say in
// which direction a map goes; the KL of the outputs says how far.
#pragma once

#include "absl/status/statusor.h"
#include "engine/quality/trials.h"

namespace skipstone::quality {

FittedMap Scaled(const FittedMap& map, float strength);

// Each map of the level times the strength of {0, 1/4, 1/2, 3/4, 1} with the least KL on the
// windows of `trials`, the others as they are by then, from the last sublayer to the first one (in
// that order HARP, arXiv 2507.01900, finds its scales); of equal ones the least. Maps of strength 0
// are left out. Errors: of the trials.
absl::StatusOr<Level> ChooseStrengths(Trials& trials, Level level);

}  // namespace skipstone::quality
