#include "base/quality/label_layout.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace skipstone::quality {
namespace {

constexpr double kPointRadius = 6;
// Of 12-pixel letters of a usual sans-serif face: the mean is 6.2, capitals and m are wider.
constexpr double kLetterWidth = 7.2;
constexpr double kWideWidth = 13;  // of what is not ASCII
constexpr size_t kMostCharacters = 28;
constexpr double kGaps[] = {kPointRadius + 2, 40, 90, 160};
constexpr int kSteps = 14;  // upwards and downwards, of a label's height

bool StartsCharacter(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

}  // namespace

std::string ShortLabel(const std::string& text) {
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (StartsCharacter(text[i]) && ++characters > kMostCharacters) {
      return text.substr(0, i) + "\u2026";
    }
  }
  return text;
}

double LabelWidth(std::string_view utf8) {
  double width = 0;
  for (const char c : utf8) {
    if (StartsCharacter(c))
      width += static_cast<unsigned char>(c) < 0x80 ? kLetterWidth : kWideWidth;
  }
  return width;
}

LabelLayout::LabelLayout(const Box& room, const std::vector<std::pair<double, double>>& points)
    : room_(room) {
  for (const auto& [x, y] : points) {
    taken_.push_back({x - kPointRadius, y - kPointRadius, x + kPointRadius, y + kPointRadius});
  }
}

bool LabelLayout::IsFree(const Box& box) const {
  if (box.left < room_.left || box.right > room_.right || box.top < room_.top ||
      box.bottom > room_.bottom) {
    return false;
  }
  return std::none_of(taken_.begin(), taken_.end(),
                      [&](const Box& other) { return box.Overlaps(other); });
}

std::optional<LabelSpot> LabelLayout::Place(double x, double y, double width) {
  // Beside the point first, then above and below that, then farther away.
  for (const double gap : kGaps) {
    for (int step = 0; step < kSteps; ++step) {
      for (const auto& [side, up] : {std::pair(1, -1), {-1, -1}, {1, 1}, {-1, 1}}) {
        const double left = side > 0 ? x + gap : x - gap - width;
        const double top = y + up * step * kHeight - kHeight / 2;
        const Box box = {left, top, left + width, top + kHeight};
        if (!IsFree(box)) continue;
        taken_.push_back(box);
        return LabelSpot{box, gap > kGaps[0] || step > 1};
      }
    }
  }
  return std::nullopt;
}

}  // namespace skipstone::quality
