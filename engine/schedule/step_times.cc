#include "engine/schedule/step_times.h"

#include <algorithm>
#include <limits>

namespace skipstone {
namespace {

// Weights of a new measurement. What makes prefill dearer is believed at once, since the bound is
// at stake, what makes it cheaper slowly; one outlier does not rule.
constexpr double kAtOnce = 0.5;
constexpr double kSlowly = 0.1;
// Steps with prefill in a row before one without.
constexpr int kProbeAfter = 32;
// A prompt gets on by so many rows a step whatever the bound.
constexpr double kLeastWork = 16;
constexpr double kForgetting = 0.9;  // of the work tried, a step
// The best rate fades by half in some 14,000 steps, so that one lucky reading does not last.
constexpr double kFading = 0.99995;

void Blend(double measured, double up, double down, double* mean) {
  const double weight = measured > *mean ? up : down;
  *mean = *mean == 0 ? measured : *mean + weight * (measured - *mean);
}

}  // namespace

void StepTimes::Observe(const StepPlan& plan, Duration duration) {
  const double time = Seconds(duration);
  if (time <= 0 || plan.shadow_rows > 0) return;
  if (plan.prefill_work >= full_step_ / 2) {
    best_rate_ = std::max(best_rate_ * kFading, plan.prefill_work / time);
    ++full_steps_;
  }
  const bool probe = mixed_steps_ >= kProbeAfter;
  mixed_steps_ = plan.prefill_work > 0 && plan.decode_rows > 0 ? mixed_steps_ + 1 : 0;
  if (plan.prefill_work == 0) {
    if (probe) decode_time_ = time;
    Blend(time, kSlowly, kAtOnce, &decode_time_);
  } else if (plan.decode_rows == 0) {
    // Too much by the time of an empty step: a cautious start.
    if (reached_work_ == 0) Blend(time / plan.prefill_work, kAtOnce, kSlowly, &work_time_);
  } else {
    Blend(std::max(0.0, time - decode_time_) / plan.prefill_work, kAtOnce, kSlowly, &work_time_);
    reached_work_ = std::max(reached_work_ * kForgetting, plan.prefill_work);
  }
}

double StepTimes::PrefillLimit() const {
  if (itl_bound_ == 0) return std::numeric_limits<double>::infinity();
  // One step of decode rows alone: else their growing batch would be taken for dearer prefill.
  if (mixed_steps_ >= kProbeAfter) return 0;
  double work = work_time_ > 0 ? itl_bound_ / work_time_ : 0;
  // No further than twice what has been tried: times of small steps are noisy.
  if (reached_work_ > 0) work = std::min(work, 2 * reached_work_);
  return std::max(kLeastWork, work);
}

}  // namespace skipstone
