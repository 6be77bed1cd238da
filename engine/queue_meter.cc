#include "engine/queue_meter.h"

#include <algorithm>

namespace skipstone {
namespace {

int64_t SecondOf(Time time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

}  // namespace

QueueMeter::Amount AmountOf(const EngineRequest& request) {
  return {.sequences = request.n,
          .prompt_tokens = request.n * static_cast<int64_t>(request.prompt.size())};
}

void QueueMeter::Enter(const Amount& amount, const std::string& tenant) {
  MutexLock lock(mutex_);
  waiting_of_[tenant] += amount.sequences;
  waiting_.Add(amount);
}

void QueueMeter::GiveUp(const Amount& amount, const std::string& tenant) {
  MutexLock lock(mutex_);
  if (const auto it = waiting_of_.find(tenant); it != waiting_of_.end()) {
    it->second -= amount.sequences;
    if (it->second <= 0) waiting_of_.erase(it);
  }
  waiting_.Add(amount, -1);
}

void QueueMeter::Start(const Amount& amount, Time now, const std::string& tenant) {
  GiveUp(amount, tenant);
  MutexLock lock(mutex_);
  const int64_t index = SecondOf(now);
  Second& second = seconds_[index % kSeconds];
  if (second.index != index) second = {.index = index};
  second.left.Add(amount);
}

QueueMeter::Amount QueueMeter::waiting() const {
  MutexLock lock(mutex_);
  return waiting_;
}

int QueueMeter::waiting_of(const std::string& tenant) const {
  MutexLock lock(mutex_);
  const auto it = waiting_of_.find(tenant);
  return it == waiting_of_.end() ? 0 : it->second;
}

Duration QueueMeter::TimeToDrain(const Amount& amount, Time now) const {
  Amount left;
  int waiting = 0;
  int64_t first = SecondOf(now);
  {
    MutexLock lock(mutex_);
    waiting = waiting_.sequences;
    for (const Second& second : seconds_) {
      if (second.index <= SecondOf(now) - kSeconds) continue;
      left.Add(second.left);
      first = std::min(first, second.index);
    }
  }
  if (left.sequences == 0) {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
        std::max(1.0, static_cast<double>(amount.sequences) / std::max(1, waiting))));
  }
  // Since the first of those seconds began, and no less than one: the rate of a moment says little.
  const double span = std::max(1.0, Seconds(now.time_since_epoch()) - static_cast<double>(first));
  const double share = std::max(
      static_cast<double>(amount.sequences) / left.sequences,
      static_cast<double>(amount.prompt_tokens) / std::max<int64_t>(1, left.prompt_tokens));
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(span * share));
}

}  // namespace skipstone
