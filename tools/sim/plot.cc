#include "tools/sim/plot.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace skipstone {
namespace {

constexpr double kWidth = 480;  // of one plot, margins included
constexpr double kHeight = 320;
constexpr double kLeft = 64;
constexpr double kRight = 20;
constexpr double kTop = 34;
constexpr double kBottom = 46;
constexpr int kTicks = 5;
// Distinguishable with any colour vision (Okabe and Ito 2008).
constexpr const char* kColors[] = {"#0072b2", "#d55e00", "#009e73",
                                   "#cc79a7", "#e69f00", "#56b4e9"};

std::string Escape(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

// One axis: values to pixels.
struct Axis {
  double low = 0;
  double high = 1;
  bool log = false;
  double first_pixel = 0;
  double last_pixel = 0;

  double Scale(double value) const { return log ? std::log10(value) : value; }
  double Pixel(double value) const {
    const double part = (Scale(value) - Scale(low)) / (Scale(high) - Scale(low));
    return first_pixel + part * (last_pixel - first_pixel);
  }
};

class PlotWriter {
 public:
  PlotWriter(const Plot& plot, double left, double top, std::string* svg)
      : plot_(plot), left_(left), top_(top), svg_(*svg) {}

  void Write() {
    MakeAxes();
    Text(left_ + kWidth / 2, top_ + 18, "middle", plot_.title, " font-weight=\"bold\"");
    for (const double tick : x_ticks_) {
      const double x = x_.Pixel(tick);
      Line(x, y_.first_pixel, x, y_.last_pixel, "#dddddd");
      Text(x, y_.first_pixel + 16, "middle", absl::StrFormat("%g", tick));
    }
    for (const double tick : y_ticks_) {
      const double y = y_.Pixel(tick);
      Line(x_.first_pixel, y, x_.last_pixel, y, "#dddddd");
      Text(x_.first_pixel - 6, y + 4, "end", absl::StrFormat("%g", tick));
    }
    Line(x_.first_pixel, y_.first_pixel, x_.last_pixel, y_.first_pixel, "#444444");
    Line(x_.first_pixel, y_.first_pixel, x_.first_pixel, y_.last_pixel, "#444444");
    Text(left_ + kWidth / 2, top_ + kHeight - 10, "middle", plot_.x_label);
    const double middle = (y_.first_pixel + y_.last_pixel) / 2;
    Text(left_ + 14, middle, "middle", plot_.y_label,
         absl::StrFormat(" transform=\"rotate(-90 %.1f %.1f)\"", left_ + 14, middle));
    for (size_t i = 0; i < plot_.lines.size(); ++i) Curve(i);
  }

 private:
  // The axes end at round numbers.
  void MakeAxes() {
    double low = std::numeric_limits<double>::infinity();
    double high = -low;
    double top = 0;
    for (const PlotLine& line : plot_.lines) {
      for (const auto& [x, y] : line.points) {
        low = std::min(low, x);
        high = std::max(high, x);
        top = std::max(top, y);
      }
    }
    if (!(low <= high)) low = high = 1;  // nothing to show
    x_ticks_ =
        plot_.log_x ? LogTicks(low, high, kTicks) : RoundTicks(std::min(0.0, low), high, kTicks);
    y_ticks_ = RoundTicks(0, top, kTicks);
    x_ = {x_ticks_.front(), x_ticks_.back(), plot_.log_x, left_ + kLeft, left_ + kWidth - kRight};
    y_ = {y_ticks_.front(), y_ticks_.back(), false, top_ + kHeight - kBottom, top_ + kTop};
  }

  void Curve(size_t number) {
    const PlotLine& line = plot_.lines[number];
    const char* color = kColors[number % std::size(kColors)];
    absl::StrAppendFormat(
        &svg_, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", color);
    for (const auto& [x, y] : line.points) {
      absl::StrAppendFormat(&svg_, "%.1f,%.1f ", x_.Pixel(x), y_.Pixel(y));
    }
    absl::StrAppend(&svg_, "\"/>\n");
    if (line.name.empty()) return;
    // In the lower right corner, which a cumulative curve leaves free.
    const double y =
        y_.first_pixel - 12 - 16 * static_cast<double>(plot_.lines.size() - 1 - number);
    Line(x_.last_pixel - 30, y, x_.last_pixel - 8, y, color);
    Text(x_.last_pixel - 36, y + 4, "end", line.name);
  }

  void Line(double x1, double y1, double x2, double y2, const char* color) {
    absl::StrAppendFormat(&svg_,
                          "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n",
                          x1, y1, x2, y2, color);
  }

  void Text(double x, double y, const char* anchor, const std::string& text,
            const std::string& attributes = "") {
    absl::StrAppendFormat(&svg_, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>%s</text>\n", x,
                          y, anchor, attributes, Escape(text));
  }

  const Plot& plot_;
  const double left_;
  const double top_;
  std::string& svg_;
  Axis x_;
  Axis y_;
  std::vector<double> x_ticks_;
  std::vector<double> y_ticks_;
};

}  // namespace

std::vector<double> RoundTicks(double low, double high, int count) {
  if (!(high > low)) high = low + 1;
  const double raw = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= raw) step = factor * power;
  }
  std::vector<double> ticks;
  const double last = std::ceil(high / step - 1e-9);
  for (double i = std::floor(low / step + 1e-9); i <= last; ++i) ticks.push_back(i * step);
  return ticks;
}

std::vector<double> LogTicks(double low, double high, int count) {
  const int first = static_cast<int>(std::floor(std::log10(low)));
  const int last = static_cast<int>(std::ceil(std::log10(high))) + 1;
  std::vector<double> ticks;
  for (int power = first; power <= last; ++power) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      if (factor == 1 || last - first <= count) ticks.push_back(factor * std::pow(10, power));
    }
  }
  while (ticks.size() > 2 && ticks[1] <= low) ticks.erase(ticks.begin());
  while (ticks.size() > 2 && ticks[ticks.size() - 2] >= high) ticks.pop_back();
  return ticks;
}

std::string PlotsToSvg(const std::vector<Plot>& plots) {
  const size_t rows = (plots.size() + 1) / 2;
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
      2 * kWidth, kHeight * static_cast<double>(rows));
  for (size_t i = 0; i < plots.size(); ++i) {
    PlotWriter(plots[i], kWidth * static_cast<double>(i % 2), kHeight * static_cast<double>(i / 2),
               &svg)
        .Write();
  }
  return svg + "</svg>\n";
}

}  // namespace skipstone
