#include "tools/sim/replica.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"

namespace skipstone {

Replica::Replica(const SchedulerOptions& options, const CostModel& cost, int max_in_flight)
    : scheduler_(options),
      cost_(cost),
      step_times_(options.itl_bound, options.max_batch_tokens),
      max_in_flight_(max_in_flight) {}

bool Replica::Add(SequenceSpec spec) {
  const bool brown_out = spec.ceiling && scheduler_.Overloaded() && *spec.ceiling != spec.skip;
  if (brown_out) spec.skip = *spec.ceiling;
  scheduler_.Add(std::move(spec));
  return brown_out;
}

bool Replica::LaunchStep(Time now) {
  scheduler_.LimitPrefill(step_times_.PrefillLimit());
  StepPlan plan = scheduler_.Next(std::move(spare_));
  if (plan.empty()) {
    spare_ = std::move(plan);
    return false;
  }
  const Duration time = cost_.TimeOf(plan);
  const Time begin = steps_.empty() ? now : std::max(now, steps_.back().end);
  busy_ += time;
  ++num_steps_;
  num_rows_ += plan.num_rows;
  steps_.push_back({std::move(plan), time, begin + time});
  return true;
}

std::span<SequenceUpdate> Replica::EndStep() {
  spare_ = std::move(steps_.front().plan);
  step_times_.Observe(spare_, steps_.front().time);
  steps_.pop_front();
  return scheduler_.Commit(spare_, MakeResults(spare_));
}

// Sampled tokens matter only to the prefix cache, which must not take one answer for another.
std::span<const LogitsResult> Replica::MakeResults(const StepPlan& plan) {
  size_t count = 0;
  for (const SequenceChunk& chunk : plan.chunks) count += chunk.logits_rows;
  if (results_.size() < count) results_.resize(count);
  size_t row = 0;
  for (const SequenceChunk& chunk : plan.chunks) {
    row += chunk.logits_rows;
    if (!chunk.samples) continue;
    const uint64_t end = static_cast<uint64_t>(chunk.first_position + chunk.num_rows);
    results_[row - 1].sampled.id = static_cast<int32_t>(Mix64(chunk.sequence << 24 | end) >> 33);
  }
  return {results_.data(), count};
}

}  // namespace skipstone
