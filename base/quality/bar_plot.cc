#include "base/quality/bar_plot.h"

#include <algorithm>

#include "base/quality/label_layout.h"
#include "base/quality/svg_picture.h"

namespace skipstone::quality {
namespace {

constexpr double kWidth = SvgPicture::kNarrow;
constexpr double kSide = 20;
constexpr double kRowHeight = 44;
constexpr double kTop = 10;
constexpr double kBelow = 34;
constexpr double kThickness = 12;

}  // namespace

std::string BarPlot(const std::vector<Bar>& bars, const std::string& title) {
  double most = 0;
  for (const Bar& bar : bars) most = std::max({most, bar.value, bar.expected.value_or(0)});
  if (most == 0) return "";
  const double bottom = kTop + kRowHeight * static_cast<double>(bars.size());
  SvgPicture svg(kWidth, bottom + kBelow, title);
  const double scale = (kWidth - 2 * kSide) / most;
  for (size_t i = 0; i < bars.size(); ++i) {
    const Bar& bar = bars[i];
    const double y = kTop + 14 + kRowHeight * static_cast<double>(i);
    svg.Text("label", kSide, y, ShortLabel(bar.label));
    svg.Text("label end", kWidth - kSide, y, bar.text);
    svg.Rect("rest", kSide, y + 7, kWidth - 2 * kSide, kThickness);
    svg.Rect("best", kSide, y + 7, bar.value * scale, kThickness);
    if (!bar.expected) continue;
    const double x = kSide + *bar.expected * scale;
    svg.Line("expected", x, y + 4, x, y + 10 + kThickness);
  }
  svg.Text("title middle", kWidth / 2, bottom + 22, title);
  return svg.Finish();
}

}  // namespace skipstone::quality
