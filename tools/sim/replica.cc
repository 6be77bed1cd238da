#include "tools/sim/replica.h"

#include <algorithm>

#include "base/hash.h"

namespace skipstone {

Replica::Replica(const SchedulerOptions& options, const CostModel& cost, int max_in_flight)
    : planner_(options, max_in_flight), cost_(cost) {}

void Replica::RunOnDevice(const Planner::Step& step) {
  const Duration time = cost_.TimeOf(step.plan);
  const Time begin = ends_.empty() ? step.launched : std::max(step.launched, ends_.back());
  ends_.push_back(begin + time);
  busy_ += time;
  ++num_steps_;
  num_rows_ += step.plan.num_rows;
}

std::span<SequenceUpdate> Replica::EndStep() {
  const Time now = ends_.front();
  ends_.pop_front();
  return planner_.Commit(now, MakeResults(planner_.oldest().plan));
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
