// Keeps events that a client can cause at will from filling the log.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"

namespace skipstone::server {

// Thread-safe. By name of the event; the names are few.
class LogLimiter {
 public:
  static constexpr int kPerSecond = 10;

  explicit LogLimiter(const Clock& clock) : clock_(clock) {}

  // Whether this one may be logged.
  bool Admit(const std::string& event) ABSL_LOCKS_EXCLUDED(mutex_);
  // What was not admitted in seconds that are over, or in all, once.
  std::vector<std::pair<std::string, int64_t>> TakeSuppressed(bool all) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Window {
    Time begin{};
    int admitted = 0;
    int64_t suppressed = 0;
  };

  const Clock& clock_;
  Mutex mutex_;
  std::map<std::string, Window> windows_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace skipstone::server
