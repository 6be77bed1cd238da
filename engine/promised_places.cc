#include "engine/promised_places.h"

#include <algorithm>

namespace skipstone {

void PromisedPlaces::Promise(const QueueMeter::Amount& amount, Time now, Time due) {
  const int64_t index = std::min(due, now + kLongest).time_since_epoch() / kSlotTime;
  Slot& slot = slots_[index % kSlots];
  if (slot.index != index) slot = {.index = index};
  slot.amount.Add(amount);
}

QueueMeter::Amount PromisedPlaces::Outstanding(Time now) const {
  QueueMeter::Amount sum;
  for (const Slot& slot : slots_) {
    if (slot.index < now.time_since_epoch() / kSlotTime) continue;
    sum.Add(slot.amount);
  }
  return sum;
}

}  // namespace skipstone
