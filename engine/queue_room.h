// Whether there is room for one more request, and if not, when there may be.
#pragma once

#include <array>
#include <string>

#include "absl/status/status.h"
#include "engine/engine_options.h"
#include "engine/live_calls.h"
#include "engine/queue_meter.h"

namespace skipstone {

// What refused requests were promised: each was told a time at which there should be room for it.
// Until then its place is taken, so that the next one is told a later time. Told one time for all,
// a herd would come back as a herd, and most of it in vain. Not thread-safe.
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

// Not thread-safe.
class QueueRoom {
 public:
  // Both outlive this.
  QueueRoom(const RequestLimits& limits, const QueueMeter& queue, const LiveCalls& live)
      : limits_(limits), queue_(queue), live_(live) {}

  // RESOURCE_EXHAUSTED: the queue, or a limit of the request's tenant, is full.
  absl::Status Check(const EngineRequest& request) const;
  // For what was refused for want of room: how long until the queue drains so far that it may fit,
  // behind those that were told the same before, at the rate of the last seconds. At most
  // PromisedPlaces::kLongest.
  Duration RetryAfter(const QueueMeter::Amount& amount, const std::string& tenant, Time now);

 private:
  // By how much the queue would be too long. An empty queue takes any prompt.
  QueueMeter::Amount ExcessOver(const QueueMeter::Amount& waiting,
                                const QueueMeter::Amount& more) const;

  const RequestLimits limits_;
  const QueueMeter& queue_;
  const LiveCalls& live_;
  PromisedPlaces promised_;
};

}  // namespace skipstone
