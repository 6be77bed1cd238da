#include "base/clock.h"

namespace skipstone {
namespace {

class SteadyClock : public Clock {
 public:
  Time Now() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace

const Clock& SystemClock() {
  // Never destroyed: threads that log ask it until the process is gone.
  static const Clock& clock = *new SteadyClock;
  return clock;
}

}  // namespace skipstone
