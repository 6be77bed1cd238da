// Measures chosen levels on work that neither choice nor fit has seen.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/quality/level_report.h"
#include "engine/levels/levels_file.h"
#include "engine/quality/evaluate.h"
#include "tools/calibrate/choose.h"
#include "tools/calibrate/options.h"
#include "tools/calibrate/texts.h"

namespace skipstone::calibrate {

// What levels are measured on; what is empty is not measured.
struct HeldOut {
  quality::Windows windows;
  std::vector<quality::Continuation> last_words;
  ChoiceTask choices;
  std::vector<std::vector<int32_t>> prompts;  // of equal length
};

// A row for the full model, then one for each of `names`, whose sets and maps are `sets` (of
// `levels`, which the model is opened with anew).
absl::StatusOr<std::vector<quality::LevelRow>> Measure(const CalibrateOptions& options,
                                                       const LevelsFile& levels,
                                                       const std::vector<ChosenLevel>& names,
                                                       const std::vector<SkipSet>& sets,
                                                       const HeldOut& held_out, const Say& say);

}  // namespace skipstone::calibrate
