#include "tools/bench/timed_backend.h"

#include "base/status.h"

namespace skipstone {

absl::StatusOr<StageSeconds> TimedBackend::Take() {
  StageSeconds seconds = std::exchange(seconds_, {});
  const std::vector<std::optional<Stage>> marks = std::exchange(marks_, {});
  if (marks.empty()) return seconds;
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<double> laps, probe_->TakeLaps());
  if (laps.size() + 1 != marks.size()) return absl::InternalError("a mark without its lap");
  for (size_t i = 0; i < laps.size(); ++i) {
    if (const auto& stage = marks[i + 1]) seconds[static_cast<int>(*stage)] += laps[i];
  }
  return seconds;
}

}  // namespace skipstone
