#include "engine/promised_places.h"

#include <algorithm>

namespace skipstone {

void PromisedPlaces::Promise(const QueueMeter::Amount& amount, Time now, Time due) {
  const int64_t index = std::min(due, now + kLongest).time_since_epoch() / kSlotTime;
  Slot& slot = slots_[index % kSlots];
  if (slot.index != index) slot = {.index = index};
  slot.amount.sequences += amount.sequences;
  slot.amount.prompt_tokens += amount.prompt_tokens;
}

QueueMeter::Amount PromisedPlaces::Outstanding(Time now) const {
  QueueMeter::Amount sum;
  for (const Slot& slot : slots_) {
    if (slot.index < now.time_since_epoch() / kSlotTime) continue;
    sum.sequences += slot.amount.sequences;
    sum.prompt_tokens += slot.amount.prompt_tokens;
  }
  return sum;
}

}  // namespace skipstone
