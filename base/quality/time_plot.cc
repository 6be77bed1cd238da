#include "base/quality/time_plot.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/quality/label_layout.h"
#include "base/quality/plot_axis.h"
#include "base/quality/svg_picture.h"

namespace skipstone::quality {
namespace {

constexpr double kWidth = SvgPicture::kNarrow;
constexpr double kHeight = 260;
constexpr Box kFrame = {66, 14, kWidth - 14, kHeight - 50};
// Of the last interval's width: what is farther from the last value is not shown.
constexpr double kMostWidths = 3;
constexpr size_t kColours = 4;  // of groups in the style
constexpr double kLegendHeight = 20;

void DrawAxes(const PlotAxis& x, const PlotAxis& y, const std::string& x_title,
              const std::string& y_title, SvgPicture& svg) {
  // Labels of ticks must not touch.
  const std::vector<double> ticks = x.Ticks();
  const size_t every = ticks.size() > 6 ? 2 : 1;
  for (size_t i = 0; i < ticks.size(); ++i) {
    svg.Line("grid", x.At(ticks[i]), kFrame.top, x.At(ticks[i]), kFrame.bottom);
    if (i % every != 0) continue;
    svg.Text("tick middle", x.At(ticks[i]), kFrame.bottom + 17, PlotAxis::TickText(ticks[i]));
  }
  for (const double tick : y.Ticks()) {
    svg.Line("grid", kFrame.left, y.At(tick), kFrame.right, y.At(tick));
    svg.Text("tick end", kFrame.left - 8, y.At(tick) + 4, PlotAxis::TickText(tick));
  }
  svg.Line("axis", kFrame.left, kFrame.bottom, kFrame.right, kFrame.bottom);
  svg.Line("axis", kFrame.left, kFrame.top, kFrame.left, kFrame.bottom);
  svg.Text("title middle", (kFrame.left + kFrame.right) / 2, kHeight - 10, x_title);
  svg.SideTitle((kFrame.top + kFrame.bottom) / 2, y_title);
}

bool IsFinite(const BandPoint& point) {
  return std::isfinite(point.x) && std::isfinite(point.value) && std::isfinite(point.low) &&
         std::isfinite(point.high);
}

}  // namespace

std::string BandPlot(const std::vector<BandPoint>& points, const std::string& x_title,
                     const std::string& y_title) {
  std::vector<BandPoint> shown;
  std::ranges::copy_if(points, std::back_inserter(shown), IsFinite);
  if (shown.size() < 2) return "";
  const BandPoint last = shown.back();
  const double most = kMostWidths * (last.high - last.low);
  if (!std::isfinite(most)) return "";
  const double bottom = std::min(0.0, last.value - most);
  const double top = std::max(0.0, last.value + most);
  std::vector<double> xs;
  std::vector<double> ys = {0};
  for (BandPoint& point : shown) {
    for (double* value : {&point.value, &point.low, &point.high}) {
      *value = std::clamp(*value, bottom, top);
      ys.push_back(*value);
    }
    xs.push_back(point.x);
  }
  const PlotAxis x(xs, /*log=*/false, kFrame.left, kFrame.right);
  const PlotAxis y(ys, /*log=*/false, kFrame.bottom, kFrame.top);
  std::string line;
  std::string band;
  for (const BandPoint& point : shown) {
    const char* const command = line.empty() ? "M" : "L";
    absl::StrAppendFormat(&line, "%s%.1f %.1f", command, x.At(point.x), y.At(point.value));
    absl::StrAppendFormat(&band, "%s%.1f %.1f", command, x.At(point.x), y.At(point.high));
  }
  for (auto point = shown.rbegin(); point != shown.rend(); ++point) {
    absl::StrAppendFormat(&band, "L%.1f %.1f", x.At(point->x), y.At(point->low));
  }
  SvgPicture svg(kWidth, kHeight, y_title + " over " + x_title);
  DrawAxes(x, y, x_title, y_title, svg);
  svg.Path("band", band + "Z");
  svg.Line("zero", kFrame.left, y.At(0), kFrame.right, y.At(0));
  svg.Path("line", line);
  return svg.Finish();
}

std::string GroupPlot(const std::vector<GroupPoint>& points, const std::vector<std::string>& groups,
                      const std::string& x_title, const std::string& y_title) {
  std::vector<double> xs;
  std::vector<double> ys;
  for (const GroupPoint& point : points) {
    if (!std::isfinite(point.x) || !std::isfinite(point.y)) continue;
    xs.push_back(point.x);
    ys.push_back(point.y);
  }
  if (xs.size() < 2) return "";
  const PlotAxis x(xs, /*log=*/false, kFrame.left, kFrame.right);
  const PlotAxis y(ys, /*log=*/false, kFrame.bottom, kFrame.top);
  const double height = kHeight + kLegendHeight * static_cast<double>(groups.size());
  SvgPicture svg(kWidth, height, y_title + " over " + x_title);
  DrawAxes(x, y, x_title, y_title, svg);
  const auto style_of = [](size_t group) { return absl::StrCat("group", group % kColours); };
  for (const GroupPoint& point : points) {
    if (!std::isfinite(point.x) || !std::isfinite(point.y) || point.group >= groups.size())
      continue;
    svg.Circle(style_of(point.group), x.At(point.x), y.At(point.y), 3, groups[point.group]);
  }
  for (size_t i = 0; i < groups.size(); ++i) {
    const double middle = kHeight + kLegendHeight * (static_cast<double>(i) + 0.4);
    svg.Circle(style_of(i), kFrame.left + 6, middle, 4, groups[i]);
    svg.Text("label", kFrame.left + 18, middle + 4, ShortLabel(groups[i]));
  }
  return svg.Finish();
}

}  // namespace skipstone::quality
