#include "base/quality/pareto_plot.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/quality/label_layout.h"
#include "base/quality/plot_axis.h"
#include "base/quality/svg_picture.h"

namespace skipstone::quality {
namespace {

constexpr double kWidth = 620;
constexpr double kHeight = 380;
constexpr Box kFrame = {72, 14, kWidth - 14, kHeight - 50};

bool IsFinite(const PlotPoint& point) { return std::isfinite(point.x) && std::isfinite(point.y); }

bool HasInterval(const PlotPoint& point) {
  return std::isfinite(point.low) && std::isfinite(point.high) && point.low < point.high;
}

std::vector<double> Values(const std::vector<PlotPoint>& points, double PlotPoint::*member) {
  std::vector<double> values;
  for (const PlotPoint& point : points) values.push_back(point.*member);
  return values;
}

// What the y axis has to hold: intervals too.
std::vector<double> Heights(const std::vector<PlotPoint>& points, bool log_y) {
  std::vector<double> values = Values(points, &PlotPoint::y);
  const bool positive = *std::min_element(values.begin(), values.end()) > 0;
  for (const PlotPoint& point : points) {
    if (!HasInterval(point)) continue;
    values.push_back(point.high);
    // A logarithmic axis has no place for what is not above 0.
    if (!log_y || !positive || point.low > 0) values.push_back(point.low);
  }
  return values;
}

// The points with both axes, drawn from the back to the front.
class Picture {
 public:
  Picture(const std::vector<PlotPoint>& points, const std::string& title, bool log_y)
      : points_(points),
        front_(ParetoFront(points)),
        x_(Values(points, &PlotPoint::x), /*log=*/false, kFrame.left, kFrame.right),
        y_(Heights(points, log_y), log_y, kFrame.bottom, kFrame.top),
        svg_(kWidth, kHeight, title) {}

  std::string Svg(const std::string& x_title, const std::string& y_title) {
    DrawAxes(x_title, y_title);
    DrawFront();
    for (size_t i = 0; i < points_.size(); ++i) DrawPoint(i);
    DrawLabels();
    return svg_.Finish();
  }

 private:
  void DrawAxes(const std::string& x_title, const std::string& y_title);
  void DrawFront();
  void DrawPoint(size_t i);
  void DrawLabels();
  bool InFront(size_t i) const {
    return std::find(front_.begin(), front_.end(), i) != front_.end();
  }
  double X(size_t i) const { return x_.At(points_[i].x); }
  double Y(size_t i) const { return y_.At(points_[i].y); }
  const std::vector<PlotPoint>& points_;
  const std::vector<size_t> front_;
  const PlotAxis x_;
  const PlotAxis y_;
  SvgPicture svg_;
};

void Picture::DrawAxes(const std::string& x_title, const std::string& y_title) {
  for (const double tick : x_.Ticks()) {
    svg_.Line("grid", x_.At(tick), kFrame.top, x_.At(tick), kFrame.bottom);
    svg_.Text("tick middle", x_.At(tick), kFrame.bottom + 17, PlotAxis::TickText(tick));
  }
  for (const double tick : y_.Ticks()) {
    svg_.Line("grid", kFrame.left, y_.At(tick), kFrame.right, y_.At(tick));
    svg_.Text("tick end", kFrame.left - 8, y_.At(tick) + 4, PlotAxis::TickText(tick));
  }
  svg_.Line("axis", kFrame.left, kFrame.bottom, kFrame.right, kFrame.bottom);
  svg_.Line("axis", kFrame.left, kFrame.top, kFrame.left, kFrame.bottom);
  svg_.Text("title middle", (kFrame.left + kFrame.right) / 2, kHeight - 10, x_title);
  svg_.SideTitle((kFrame.top + kFrame.bottom) / 2, y_title + (y_.log() ? " (logarithmic)" : ""));
}

// Steps: between two of its points the best one can have is the worse of both.
void Picture::DrawFront() {
  std::string path;
  for (const size_t i : front_) {
    if (i == front_.front()) {
      absl::StrAppendFormat(&path, "M%.1f %.1f", X(i), Y(i));
    } else {
      absl::StrAppendFormat(&path, "H%.1fV%.1f", X(i), Y(i));
    }
  }
  svg_.Path("front", path);
}

void Picture::DrawPoint(size_t i) {
  const PlotPoint& point = points_[i];
  if (HasInterval(point) && (!y_.log() || point.low > 0)) {
    svg_.Line("interval", X(i), y_.At(point.low), X(i), y_.At(point.high));
  }
  svg_.Circle(InFront(i) ? "best" : "other", X(i), Y(i), 5,
              absl::StrFormat("%s: %.4g, %.4g", point.label, point.x, point.y));
}

void Picture::DrawLabels() {
  std::vector<std::pair<double, double>> places;
  for (size_t i = 0; i < points_.size(); ++i) places.emplace_back(X(i), Y(i));
  LabelLayout layout(kFrame, places);
  // Those of the front choose first.
  std::vector<size_t> order = front_;
  for (size_t i = 0; i < points_.size(); ++i) {
    if (!InFront(i)) order.push_back(i);
  }
  for (const size_t i : order) {
    const std::string label = ShortLabel(points_[i].label);
    const auto spot = layout.Place(X(i), Y(i), LabelWidth(label));
    if (!spot) continue;
    const Box& box = spot->box;
    if (spot->is_far) {
      svg_.Line("leader", X(i), Y(i), std::clamp(X(i), box.left, box.right),
                std::clamp(Y(i), box.top, box.bottom));
    }
    // Beside its point the text begins or ends there, though it is narrower than its box.
    const char* anchor = box.left >= X(i)    ? "label"
                         : box.right <= X(i) ? "label end"
                                             : "label middle";
    const double x = box.left >= X(i)    ? box.left
                     : box.right <= X(i) ? box.right
                                         : (box.left + box.right) / 2;
    svg_.Text(anchor, x, box.bottom - 4, label);
  }
}

}  // namespace

std::vector<size_t> ParetoFront(const std::vector<PlotPoint>& points) {
  std::vector<size_t> front;
  for (size_t i = 0; i < points.size(); ++i) {
    const auto beats = [&, i](const PlotPoint& other) {
      return IsFinite(other) && other.x <= points[i].x && other.y <= points[i].y &&
             (other.x < points[i].x || other.y < points[i].y);
    };
    if (IsFinite(points[i]) && std::none_of(points.begin(), points.end(), beats)) {
      front.push_back(i);
    }
  }
  std::stable_sort(front.begin(), front.end(),
                   [&](size_t a, size_t b) { return points[a].x < points[b].x; });
  return front;
}

std::string ParetoPlot(const std::vector<PlotPoint>& points, const std::string& x_title,
                       const std::string& y_title, bool log_y) {
  std::vector<PlotPoint> finite;
  std::copy_if(points.begin(), points.end(), std::back_inserter(finite), IsFinite);
  if (finite.size() < 2) return "";
  return Picture(finite, y_title + " against " + x_title, log_y).Svg(x_title, y_title);
}

}  // namespace skipstone::quality
