// The one monotonic clock of the process, replaceable in tests.
#pragma once

#include <chrono>

namespace skipstone {

using Duration = std::chrono::steady_clock::duration;
using Time = std::chrono::steady_clock::time_point;

inline constexpr Time kNever = Time::max();

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time Now() const = 0;
};

// std::chrono::steady_clock.
const Clock& SystemClock();

inline double Seconds(Duration d) { return std::chrono::duration<double>(d).count(); }
inline double Milliseconds(Duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

}  // namespace skipstone
