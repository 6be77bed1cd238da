// What a model goes on with under a set.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/skip/skip_set.h"
#include "tools/calibrate/session.h"

namespace skipstone::calibrate {

// Behind each prompt `count` tokens; an end of sequence does not end them. [prompt][count].
struct Generated {
  std::vector<std::vector<int32_t>> greedy;
  std::vector<std::vector<int32_t>> sampled;  // at temperature 1
};
// For each set. Prompts have >= 1 token and equal lengths; what is sampled behind the i-th one
// depends on seed + i. Takes the model.
absl::StatusOr<std::vector<Generated>> Generate(LoadedModel model,
                                                std::span<const std::vector<int32_t>> prompts,
                                                std::span<const SkipSet> sets, int count,
                                                uint64_t seed);

}  // namespace skipstone::calibrate
