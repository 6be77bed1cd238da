// What changes of experiments while the server runs: arms that were turned off, by a guardrail or
// by hand, whose requests get the default level, and how far ramps have come. Guardrails keep both.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace skipstone::server {

// Thread-safe.
class ArmSwitches {
 public:
  struct Off {
    std::string experiment;
    std::string arm;
    std::string why;
    int64_t since_unix_ms = 0;
    friend bool operator==(const Off&, const Off&) = default;
  };

  // Asked for every request: takes no lock while nothing is off.
  bool IsOff(const std::string& experiment, const std::string& arm) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  // False: it is off already, since then and for that reason.
  bool TurnOff(Off off) ABSL_LOCKS_EXCLUDED(mutex_);
  // False: it was on.
  bool TurnOn(const std::string& experiment, const std::string& arm) ABSL_LOCKS_EXCLUDED(mutex_);
  // By experiment and arm.
  std::vector<Off> off() const ABSL_LOCKS_EXCLUDED(mutex_);

  // The step of an experiment's ramp, from 0; at most `last`.
  size_t StepOf(const std::string& experiment, size_t last) const ABSL_LOCKS_EXCLUDED(mutex_);
  // False: it has come as far already. It never goes back.
  bool GoTo(const std::string& experiment, size_t step) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable Mutex mutex_;
  std::map<std::pair<std::string, std::string>, Off> off_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> any_{false};                                 // is off
  std::map<std::string, size_t> steps_ ABSL_GUARDED_BY(mutex_);  // of experiments; none: 0
};

}  // namespace skipstone::server
