// How much waits to be scheduled, and how fast it drains: what admission needs to know on any
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "base/mutex.h"
#include "engine/request.h"

namespace skipstone {

// Thread-safe.
class QueueMeter {
 public:
  struct Amount {
    int sequences = 0;
    int64_t prompt_tokens = 0;

    void Add(const Amount& more, int times = 1) {
      sequences += times * more.sequences;
      prompt_tokens += times * more.prompt_tokens;
    }
  };

  void Enter(const Amount& amount, const std::string& tenant = {});
  // Scheduled: this is what drains a queue.
  void Start(const Amount& amount, Time now, const std::string& tenant = {});
  // Ended before it was scheduled.
  void GiveUp(const Amount& amount, const std::string& tenant = {});
  Amount waiting() const;
  // Sequences of one tenant.
  int waiting_of(const std::string& tenant) const;
  // How long until `amount` drains, at the rate of the last seconds. If nothing did: as if all that
  // waits would in a second, and no less than that second.
  Duration TimeToDrain(const Amount& amount, Time now) const;

 private:
  static constexpr int kSeconds = 10;  // that the rate is taken over

  struct Second {
    int64_t index = -1;  // of the clock
    Amount left;
  };

  mutable Mutex mutex_;
  Amount waiting_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, int> waiting_of_ ABSL_GUARDED_BY(mutex_);  // none of 0
  std::array<Second, kSeconds> seconds_ ABSL_GUARDED_BY(mutex_);
};

// What it adds to the queue.
QueueMeter::Amount AmountOf(const EngineRequest& request);

}  // namespace skipstone
