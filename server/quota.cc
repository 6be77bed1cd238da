#include "server/quota.h"

#include <algorithm>
#include <chrono>

namespace skipstone::server {

void Quota::SetPerMinute(double per_minute) {
  MutexLock lock(mutex_);
  left_ += per_minute - per_minute_;
  per_minute_ = per_minute;
}

double Quota::LeftAt(Time now) const {
  if (since_ == Time::min() || now <= since_) return left_;
  return std::min(per_minute_, left_ + per_minute_ * Seconds(now - since_) / 60);
}

Duration Quota::WaitFor(double missing) const {
  // A moment more, against rounding.
  return std::chrono::duration_cast<Duration>(
             std::chrono::duration<double>(missing * 60 / per_minute_)) +
         std::chrono::milliseconds(1);
}

Duration Quota::Wait(Time now) const {
  MutexLock lock(mutex_);
  const double left = LeftAt(now);
  return per_minute_ == 0 || left > 0 ? Duration::zero() : WaitFor(-left);
}

void Quota::Take(double amount, Time now) {
  MutexLock lock(mutex_);
  if (per_minute_ == 0) return;
  left_ = LeftAt(now) - amount;
  since_ = std::max(since_, now);
}

Duration Quota::TryTake(double amount, Time now) {
  MutexLock lock(mutex_);
  if (per_minute_ == 0) return Duration::zero();
  const double left = LeftAt(now);
  const double needed = std::min(amount, per_minute_);
  if (left < needed) return WaitFor(needed - left);
  left_ = left - amount;
  since_ = std::max(since_, now);
  return Duration::zero();
}

}  // namespace skipstone::server
