// How long decode steps and prefill take under sets, in turns.
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/skip/skip_set.h"
#include "tools/calibrate/options.h"

namespace skipstone::calibrate {

struct SetTimes {
  double decode_ms = 0;   // of a step of one sequence, behind --context tokens
  double prefill_ms = 0;  // for each 1,000 tokens of a prompt
};
// One for each set; the first is what the others are compared with, step by step. Maps cost next to
// nothing beside what their sublayers save, so sets are timed without.
absl::StatusOr<std::vector<SetTimes>> TimeSets(const CalibrateOptions& options,
                                               std::span<const SkipSet> sets);

}  // namespace skipstone::calibrate
