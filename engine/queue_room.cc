#include "engine/queue_room.h"

#include <algorithm>

#include "absl/strings/str_format.h"

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

QueueMeter::Amount QueueRoom::ExcessOver(const QueueMeter::Amount& waiting,
                                         const QueueMeter::Amount& more) const {
  QueueMeter::Amount excess{.sequences = waiting.sequences + more.sequences - limits_.max_queue};
  if (waiting.prompt_tokens > 0) {
    excess.prompt_tokens = waiting.prompt_tokens + more.prompt_tokens - limits_.max_queue_tokens;
  }
  return excess;
}

absl::Status QueueRoom::Check(const EngineRequest& request) const {
  const QueueMeter::Amount waiting = queue_.waiting();
  const QueueMeter::Amount excess = ExcessOver(waiting, AmountOf(request));
  if (excess.sequences > 0) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("the queue is full: %d sequences wait, the limit is %d", waiting.sequences,
                        limits_.max_queue));
  }
  if (excess.prompt_tokens > 0) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("the queue is full: %d prompt tokens wait, the limit is %d",
                        waiting.prompt_tokens, limits_.max_queue_tokens));
  }
  const int live = live_.SequencesOf(request.tenant);
  if (limits_.max_tenant_running > 0 && live + request.n > limits_.max_tenant_running) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "tenant '%s' is at its limit: %d of its sequences run or wait, max_tenant_running is %d",
        request.tenant, live, limits_.max_tenant_running));
  }
  const int queued = queue_.waiting_of(request.tenant);
  if (limits_.max_tenant_queued > 0 && queued + request.n > limits_.max_tenant_queued) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "tenant '%s' is at its limit: %d of its sequences wait, max_tenant_queued is %d",
        request.tenant, queued, limits_.max_tenant_queued));
  }
  return absl::OkStatus();
}

Duration QueueRoom::RetryAfter(const QueueMeter::Amount& amount, const std::string& tenant,
                               Time now) {
  const QueueMeter::Amount promised = promised_.Outstanding(now);
  QueueMeter::Amount waiting = queue_.waiting();
  waiting.Add(promised);
  QueueMeter::Amount excess = ExcessOver(waiting, amount);
  const int more = promised.sequences + amount.sequences;
  if (const int most = limits_.max_tenant_running; most > 0) {
    excess.sequences = std::max(excess.sequences, live_.SequencesOf(tenant) + more - most);
  }
  if (const int most = limits_.max_tenant_queued; most > 0) {
    excess.sequences = std::max(excess.sequences, queue_.waiting_of(tenant) + more - most);
  }
  excess.sequences = std::max(1, excess.sequences);
  excess.prompt_tokens = std::max<int64_t>(1, excess.prompt_tokens);
  const Duration wait = std::min(queue_.TimeToDrain(excess, now), PromisedPlaces::kLongest);
  promised_.Promise(amount, now, now + wait);
  return wait;
}

}  // namespace skipstone
