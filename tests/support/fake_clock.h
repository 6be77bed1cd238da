// A clock that moves only when told to. Thread-safe.
#pragma once

#include <atomic>

#include "base/clock.h"

namespace skipstone {

class FakeClock : public Clock {
 public:
  Time Now() const override { return now_.load(); }
  void Advance(Duration d) { now_.store(now_.load() + d); }

 private:
  std::atomic<Time> now_{Time(std::chrono::hours(1))};
};

}  // namespace skipstone
