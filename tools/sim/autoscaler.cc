#include "tools/sim/autoscaler.h"

#include <algorithm>
#include <cmath>

namespace skipstone {
namespace {

constexpr double kTolerance = 0.1;  // of the target, within which nothing changes

}  // namespace

bool Autoscaler::Advance(Time now, double mean) {
  while (!starting_.empty() && starting_.front() <= now) {
    starting_.pop_front();
    ++serving_;
  }
  if (now < decision_) return false;
  Decide(now, mean);
  decision_ = now + options_.interval;
  return true;
}

void Autoscaler::Decide(Time now, double mean) {
  const double ratio = mean / options_.target;
  int wanted = serving_;
  if (std::abs(ratio - 1) > kTolerance) wanted = static_cast<int>(std::ceil(serving_ * ratio));
  wanted = std::clamp(wanted, least_, options_.most);
  wanted_.emplace_back(now, wanted);
  while (wanted_.front().first + options_.hold < now) wanted_.pop_front();
  for (int i = serving_ + static_cast<int>(starting_.size()); i < wanted; ++i) {
    starting_.push_back(now + options_.start);
  }
  const auto most = std::ranges::max_element(
      wanted_, {}, [](const std::pair<Time, int>& decision) { return decision.second; });
  const bool may_go = starting_.empty() && now - last_down_ >= options_.step_down;
  if (most->second >= serving_ || !may_go) return;
  --serving_;
  last_down_ = now;
}

}  // namespace skipstone
