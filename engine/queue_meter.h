// How much waits to be scheduled, and how fast it drains: what admission needs to know on any
// thread.
#pragma once

#include <array>
#include <cstdint>

#include "engine/base/clock.h"
#include "engine/base/mutex.h"

namespace skipstone {

// Thread-safe.
class QueueMeter {
 public:
  struct Amount {
    int sequences = 0;
    int64_t prompt_tokens = 0;
  };

  void Enter(const Amount& amount);
  // Scheduled: this is what drains a queue.
  void Start(const Amount& amount, Time now);
  // Ended before it was scheduled.
  void GiveUp(const Amount& amount);
  Amount waiting() const;
  // How long until `amount` drains, at the rate of the last seconds; a second if nothing did.
  Duration TimeToDrain(const Amount& amount, Time now) const;

 private:
  static constexpr int kSeconds = 10;  // that the rate is taken over

  struct Second {
    int64_t index = -1;  // of the clock
    Amount left;
  };

  mutable Mutex mutex_;
  Amount waiting_ ABSL_GUARDED_BY(mutex_);
  std::array<Second, kSeconds> seconds_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace skipstone
