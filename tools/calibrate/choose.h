// Chooses the sets of the levels and fits their maps.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/quality/trials.h"
#include "tools/calibrate/options.h"
#include "tools/calibrate/session.h"

namespace skipstone::calibrate {

// A level of the file, or a set of another ranker for comparison.
struct ChosenLevel {
  std::string name;
  std::string family;
  std::string compensation;  // empty: none
  quality::Level level;
};

struct Choice {
  std::vector<ChosenLevel> levels;
  std::vector<ChosenLevel> compared;
  std::vector<std::string> notes;  // one sentence each
};

// Tells what is being done, for a progress line.
using Say = std::function<void(const std::string& text)>;

struct ChoiceTexts {
  quality::Windows choose;
  quality::Windows fit;
  // Of another kind, or none: then maps are taken if they help on what they were fitted to, and a
  // note says so.
  quality::Windows second;
};

// Errors: of the passes and of the journal.
absl::StatusOr<Choice> Choose(const CalibrateOptions& options, const CalibratePlan& plan,
                              OpenedModel& model, quality::WindowPass& pass,
                              const ChoiceTexts& texts, quality::Journal& journal, const Say& say);

}  // namespace skipstone::calibrate
