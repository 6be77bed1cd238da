#include "server/log_limiter.h"

namespace skipstone::server {
namespace {

constexpr Duration kWindow = std::chrono::seconds(1);

}  // namespace

bool LogLimiter::Admit(const std::string& event) {
  const Time now = clock_.Now();
  MutexLock lock(mutex_);
  Window& window = windows_[event];
  if (now - window.begin >= kWindow) {
    window.begin = now;
    window.admitted = 0;
  }
  if (window.admitted >= kPerSecond) {
    ++window.suppressed;
    return false;
  }
  ++window.admitted;
  return true;
}

std::vector<std::pair<std::string, int64_t>> LogLimiter::TakeSuppressed(bool all) {
  const Time now = clock_.Now();
  std::vector<std::pair<std::string, int64_t>> taken;
  MutexLock lock(mutex_);
  for (auto& [event, window] : windows_) {
    if (window.suppressed == 0 || (!all && now - window.begin < kWindow)) continue;
    taken.emplace_back(event, std::exchange(window.suppressed, 0));
  }
  return taken;
}

}  // namespace skipstone::server
