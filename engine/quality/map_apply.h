// A fitted map on the host, while it is under trial. Pure functions: any thread may call.
#pragma once

#include <span>
#include <vector>

#include "engine/quality/map_fit.h"

namespace skipstone::quality {

// state / sqrt(mean(state^2) + epsilon) * norm for each row of [rows][norm.size()].
std::vector<float> RmsNorm(std::span<const float> state, std::span<const float> norm,
                           float epsilon);

// residual += up (down x) + scale * x + bias for each row x of `normed`, [rows][hidden] both.
void AddMap(const FittedMap& map, std::span<const float> normed, std::span<float> residual);

}  // namespace skipstone::quality
