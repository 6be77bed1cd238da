// The measures of a level report, each once: name, unit and form of what is shown.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>

#include "base/quality/level_report.h"

namespace skipstone::quality {

struct LevelMeasure {
  enum class Kind { kText, kTasks, kGeneration, kCost };

  Kind kind;
  const char* key;    // in JSON
  const char* title;  // of a column
  const char* help;   // one line
  std::variant<std::optional<double> LevelRow::*, std::optional<Interval> LevelRow::*> field;
  int decimals;
  double scale = 1;        // of what is shown: 100 for percent
  bool is_change = false;  // shown with its sign

  // Nothing where it was not measured.
  std::optional<double> ValueIn(const LevelRow& row) const;
  std::optional<Interval> IntervalIn(const LevelRow& row) const;  // nor where it has none
  // "61.60", "+3.1"; "-" for nothing and what is not finite.
  std::string Text(std::optional<double> value) const;
  // "[58.20, 65.10]"; empty without an interval.
  std::string IntervalText(const LevelRow& row) const;
};

// In the order in which they are shown, those of a kind together.
std::span<const LevelMeasure> LevelMeasures();
const char* NameOf(LevelMeasure::Kind kind);

}  // namespace skipstone::quality
