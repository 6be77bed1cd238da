// An <svg> element that takes its colours from the style of html_page.h.
#pragma once

#include <string>
#include <string_view>

namespace skipstone::quality {

// Coordinates are pixels from the left and the top; styles are classes. One thread.
class SvgPicture {
 public:
  // Pictures of this width can be read on a telephone; others are for wide windows.
  static constexpr double kNarrow = 400;

  // `label`: what it shows, for those who cannot see it.
  SvgPicture(double width, double height, const std::string& label);

  void Line(std::string_view style, double x1, double y1, double x2, double y2);
  void Text(std::string_view style, double x, double y, const std::string& text);
  void Rect(std::string_view style, double x, double y, double width, double height);
  // `title` shows under the pointer.
  void Circle(std::string_view style, double x, double y, double radius, const std::string& title);
  // `path`: as the attribute d of <path>.
  void Path(std::string_view style, const std::string& path);
  // Along the left edge, upwards, around the height y.
  void SideTitle(double y, const std::string& text);

  std::string Finish() const { return svg_ + "</svg>\n"; }

 private:
  std::string svg_;
};

}  // namespace skipstone::quality
