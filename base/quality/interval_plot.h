// A picture (SVG) of effects with their intervals, one below the other: a forest plot.
#pragma once

#include <string>
#include <vector>

namespace skipstone::quality {

enum class EffectTone { kGood, kBad, kNeutral };

struct IntervalRow {
  std::string label;  // any text
  std::string text;   // the numbers in words
  double value = 0;
  double low = 0;  // none where it is not below `high`
  double high = 0;
  EffectTone tone = EffectTone::kNeutral;  // of what is clear; neutral are hollow points
};

// The axis holds 0, which is marked. Rows that are not finite are left out; empty without any.
std::string IntervalPlot(const std::vector<IntervalRow>& rows, const std::string& x_title);

}  // namespace skipstone::quality
