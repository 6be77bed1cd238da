// Finds places for the names of points in a picture.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skipstone::quality {

struct Box {
  double left = 0;
  double top = 0;
  double right = 0;
  double bottom = 0;

  bool Overlaps(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
};

struct LabelSpot {
  Box box;
  bool is_far = false;  // not beside its point: a line should lead there
};

// Text as it is shown: cut to a length that fits, and the width it takes at most, in pixels.
std::string ShortLabel(const std::string& text);
double LabelWidth(std::string_view utf8);

// Gives each point (x, y) a box of its label's width within `room` that overlaps no other box and
// no point; nothing where none of the places around it is free. Earlier points choose first.
class LabelLayout {
 public:
  LabelLayout(const Box& room, const std::vector<std::pair<double, double>>& points);
  std::optional<LabelSpot> Place(double x, double y, double width);

  static constexpr double kHeight = 15;  // of a label

 private:
  bool IsFree(const Box& box) const;

  const Box room_;
  std::vector<Box> taken_;
};

}  // namespace skipstone::quality
