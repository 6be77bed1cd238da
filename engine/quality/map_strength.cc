#include "engine/quality/map_strength.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "base/status.h"

namespace skipstone::quality {
namespace {

constexpr std::array<float, 4> kStrengths = {0.25f, 0.5f, 0.75f, 1};

}  // namespace

FittedMap Scaled(const FittedMap& map, float strength) {
  FittedMap scaled = map;
  for (auto* part : {&scaled.bias, &scaled.scale, &scaled.up}) {
    for (float& value : *part) value *= strength;
  }
  return scaled;
}

absl::StatusOr<Level> ChooseStrengths(Trials& trials, Level level) {
  std::vector<Point> points;
  for (const auto& [point, map] : level.fitted) points.push_back(point);
  std::ranges::reverse(points);
  for (const Point point : points) {
    const std::shared_ptr<const FittedMap> map = level.fitted.at(point);
    level.fitted.erase(point);
    std::vector<Candidate> candidates = {{.point = point}};
    for (const float strength : kStrengths) {
      candidates.push_back(
          {.point = point,
           .map = strength == 1 ? map : std::make_shared<const FittedMap>(Scaled(*map, strength))});
    }
    SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<Cost> costs, trials.Measure(level, candidates));
    const auto best = std::ranges::min_element(costs, {}, &Cost::kl);
    level = With(level, candidates[best - costs.begin()]);
  }
  return level;
}

}  // namespace skipstone::quality
