// Whether there is room for one more request, and if not, when there may be.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "engine/engine_options.h"
#include "engine/live_calls.h"
#include "engine/promised_places.h"
#include "engine/queue_meter.h"

namespace skipstone {

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
