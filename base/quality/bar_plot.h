// A picture (SVG) of counts as bars, with what was expected.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace skipstone::quality {

struct Bar {
  std::string label;  // any text
  std::string text;   // the number in words
  double value = 0;   // >= 0, finite
  std::optional<double> expected;
};

// Empty without bars, and where all are 0.
std::string BarPlot(const std::vector<Bar>& bars, const std::string& title);

}  // namespace skipstone::quality
