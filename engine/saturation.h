// How full a server is, in one number that a fleet scales by.
#pragma once

#include "base/clock.h"
#include "engine/engine_observer.h"
#include "engine/engine_options.h"

namespace skipstone {

// The time of the steps in which sequences decode, which is what their next token waits for. One
// thread.
class DecodeStepTime {
 public:
  void Observe(Duration step) {
    // The last ten steps or so.
    mean_ = mean_ == Duration::zero() ? step : mean_ + (step - mean_) / 10;
  }
  // Nothing decodes.
  void Reset() { mean_ = Duration::zero(); }
  Duration mean() const { return mean_; }

 private:
  Duration mean_{};
};

// The fullest of what may run out, 0 to 1: places and prompt tokens of the queue, pages in use,
// places for sequences that run, and, where a target is set, the time of a step.
double Saturation(const EngineLoad& load, const EngineOptions& options, Duration step);

}  // namespace skipstone
