#include "base/quality/interval_plot.h"

#include <cmath>

#include "base/quality/label_layout.h"
#include "base/quality/plot_axis.h"
#include "base/quality/svg_picture.h"

namespace skipstone::quality {
namespace {

constexpr double kWidth = SvgPicture::kNarrow;
constexpr double kRowHeight = 44;
constexpr double kTop = 10;
constexpr double kBelow = 46;  // ticks and title
constexpr double kSide = 20;

const char* StyleOf(EffectTone tone) {
  return tone == EffectTone::kGood ? "best" : tone == EffectTone::kBad ? "bad" : "other";
}

bool HasInterval(const IntervalRow& row) {
  return std::isfinite(row.low) && std::isfinite(row.high) && row.low < row.high;
}

void DrawRow(const IntervalRow& row, double y, const PlotAxis& x, SvgPicture& svg) {
  svg.Text("label", kSide, y, ShortLabel(row.label));
  svg.Text("label end", kWidth - kSide, y, row.text);
  const double middle = y + 15;
  // In pieces, so that it crosses no text.
  svg.Line("zero", x.At(0), middle - 9, x.At(0), middle + 9);
  if (HasInterval(row)) {
    const std::string style = std::string("interval ") + StyleOf(row.tone);
    svg.Line(style, x.At(row.low), middle, x.At(row.high), middle);
    for (const double end : {row.low, row.high}) {
      svg.Line(style, x.At(end), middle - 4, x.At(end), middle + 4);
    }
  }
  svg.Circle(StyleOf(row.tone), x.At(row.value), middle, 5, row.label + ": " + row.text);
}

}  // namespace

std::string IntervalPlot(const std::vector<IntervalRow>& rows, const std::string& x_title) {
  std::vector<IntervalRow> shown;
  std::vector<double> values = {0};
  for (const IntervalRow& row : rows) {
    if (!std::isfinite(row.value)) continue;
    shown.push_back(row);
    values.push_back(row.value);
    if (HasInterval(row)) values.insert(values.end(), {row.low, row.high});
  }
  if (shown.empty()) return "";
  const double bottom = kTop + kRowHeight * static_cast<double>(shown.size());
  const PlotAxis x(values, /*log=*/false, kSide, kWidth - kSide);
  SvgPicture svg(kWidth, bottom + kBelow, x_title);
  for (const double tick : x.Ticks()) {
    svg.Line("axis", x.At(tick), bottom - 5, x.At(tick), bottom);
    svg.Text("tick middle", x.At(tick), bottom + 16, PlotAxis::TickText(tick));
  }
  svg.Line("axis", kSide, bottom, kWidth - kSide, bottom);
  svg.Text("title middle", kWidth / 2, bottom + 38, x_title);
  for (size_t i = 0; i < shown.size(); ++i) {
    DrawRow(shown[i], kTop + 14 + kRowHeight * static_cast<double>(i), x, svg);
  }
  return svg.Finish();
}

}  // namespace skipstone::quality
