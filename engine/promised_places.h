// What refused requests were promised: each was told a time at which there should be room for it.
// Until then its place is taken, so that the next one is told a later time. Told one time for all,
// a herd would come back as a herd, and most of it in vain.
#pragma once

#include <array>

#include "engine/queue_meter.h"

namespace skipstone {

// Not thread-safe.
class PromisedPlaces {
 public:
  // Nothing is promised for later than this.
  static constexpr Duration kLongest = std::chrono::seconds(8);

  // `due` is after `now` and at most kLongest after it.
  void Promise(const QueueMeter::Amount& amount, Time now, Time due);
  // What is due after `now`.
  QueueMeter::Amount Outstanding(Time now) const;

 private:
  static constexpr Duration kSlotTime = std::chrono::milliseconds(50);
  static constexpr int kSlots = kLongest / kSlotTime + 2;

  // By time, so that a flood of refusals takes no memory.
  struct Slot {
    int64_t index = -1;  // of the clock
    QueueMeter::Amount amount;
  };

  std::array<Slot, kSlots> slots_;
};

}  // namespace skipstone
