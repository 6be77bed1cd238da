// What a model goes on with under a set, greedily.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/skip/skip_set.h"
#include "tools/calibrate/session.h"

namespace skipstone::calibrate {

// Of each prompt (>= 1 token, equal lengths), for each set: `count` tokens; an end of sequence does
// not end it. [set][prompt][count]. Takes the model.
absl::StatusOr<std::vector<std::vector<std::vector<int32_t>>>> Generate(
    LoadedModel model, std::span<const std::vector<int32_t>> prompts, std::span<const SkipSet> sets,
    int count);

}  // namespace skipstone::calibrate
