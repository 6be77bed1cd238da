#include "server/arm_switches.h"

#include <algorithm>

namespace skipstone::server {

bool ArmSwitches::IsOff(const std::string& experiment, const std::string& arm) const {
  if (!any_.load(std::memory_order_relaxed)) return false;
  MutexLock lock(mutex_);
  return off_.contains({experiment, arm});
}

bool ArmSwitches::TurnOff(Off off) {
  MutexLock lock(mutex_);
  any_ = true;
  std::pair key(off.experiment, off.arm);
  return off_.emplace(std::move(key), std::move(off)).second;
}

bool ArmSwitches::TurnOn(const std::string& experiment, const std::string& arm) {
  MutexLock lock(mutex_);
  const bool was_off = off_.erase({experiment, arm}) > 0;
  any_ = !off_.empty();
  return was_off;
}

std::vector<ArmSwitches::Off> ArmSwitches::off() const {
  MutexLock lock(mutex_);
  std::vector<Off> all;
  for (const auto& [key, off] : off_) all.push_back(off);
  return all;
}

size_t ArmSwitches::StepOf(const std::string& experiment, size_t last) const {
  MutexLock lock(mutex_);
  const auto found = steps_.find(experiment);
  return found == steps_.end() ? 0 : std::min(found->second, last);
}

bool ArmSwitches::GoTo(const std::string& experiment, size_t step) {
  MutexLock lock(mutex_);
  size_t& now = steps_[experiment];
  if (step <= now) return false;
  now = step;
  return true;
}

}  // namespace skipstone::server
