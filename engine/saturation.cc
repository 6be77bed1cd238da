#include "engine/saturation.h"

#include <algorithm>

namespace skipstone {
namespace {

double Share(double part, double whole) { return whole > 0 ? std::min(1.0, part / whole) : 0; }

}  // namespace

double Saturation(const EngineLoad& load, const EngineOptions& options, Duration step) {
  const auto count = [](Duration time) { return static_cast<double>(time.count()); };
  return std::max(
      {Share(load.waiting, options.limits.max_queue),
       Share(static_cast<double>(load.waiting_tokens),
             static_cast<double>(options.limits.max_queue_tokens)),
       Share(static_cast<double>(load.pages.used), static_cast<double>(load.pages.total)),
       Share(load.running, options.scheduler.max_sequences),
       Share(count(step), count(options.itl_target))});
}

}  // namespace skipstone
