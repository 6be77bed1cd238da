// How much of something somebody may have in a minute.
#pragma once

#include "base/clock.h"
#include "base/mutex.h"

namespace skipstone::server {

// A token bucket that holds a minute's worth and is refilled evenly. Thread-safe.
class Quota {
 public:
  // Finite, >= 0; 0: no limit. What was taken stays taken.
  explicit Quota(double per_minute) : per_minute_(per_minute), left_(per_minute) {}
  void SetPerMinute(double per_minute) ABSL_LOCKS_EXCLUDED(mutex_);

  // Zero: something is left. Else how long until there is.
  Duration Wait(Time now) const ABSL_LOCKS_EXCLUDED(mutex_);
  // May leave less than nothing: how much something takes may be known at its end only.
  void Take(double amount, Time now) ABSL_LOCKS_EXCLUDED(mutex_);
  // Takes it if that much is left, or the whole minute's; else says how long until there is.
  Duration TryTake(double amount, Time now) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  double LeftAt(Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Duration WaitFor(double missing) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  double per_minute_ ABSL_GUARDED_BY(mutex_);
  double left_ ABSL_GUARDED_BY(mutex_);  // at since_
  Time since_ ABSL_GUARDED_BY(mutex_) = Time::min();
};

}  // namespace skipstone::server
