#include "engine/schedule/planner.h"

#include <utility>

namespace skipstone {

bool Planner::Add(std::span<SequenceSpec> outputs) {
  const bool overloaded = scheduler_.Overloaded();
  bool browned_out = false;
  for (SequenceSpec& spec : outputs) {
    spec.asked_full = spec.skip.FullAttention();
    if (overloaded && spec.ceiling && *spec.ceiling != spec.skip) {
      spec.skip = *spec.ceiling;
      browned_out = true;
    }
    scheduler_.Add(std::move(spec));
  }
  return browned_out;
}

Planner::Step* Planner::Next() {
  if (std::ssize(steps_) >= max_in_flight_) return nullptr;
  scheduler_.LimitPrefill(step_times_.PrefillLimit());
  spare_.plan = scheduler_.Next(std::move(spare_.plan));
  if (spare_.plan.empty()) return nullptr;
  return &steps_.emplace_back(std::exchange(spare_, {}));
}

std::span<SequenceUpdate> Planner::Commit(Time now, std::span<const LogitsResult> results) {
  step_times_.Observe(oldest().plan, TimeOfOldest(now));
  last_ended_ = now;
  spare_ = std::move(steps_.front());
  steps_.pop_front();
  return scheduler_.Commit(spare_.plan, results);
}

}  // namespace skipstone
