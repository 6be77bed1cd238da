#include "server/process_limits.h"

#include <dirent.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>

#include "absl/strings/str_format.h"

namespace skipstone::server {
namespace {

// Enough that threads rarely wait for each other; glibc's own default is eight for each core.
constexpr int kArenas = 4;
// glibc raises both thresholds to what was once freed, up to 32 and 64 MiB, and malloc_trim leaves
// the tops of other arenas than the main one alone. Set, they stay: what is larger goes back at
// once, and so does a top that has grown by more.
constexpr int kThresholdBytes = 1 << 20;
// A connection takes 20 KiB and more: no machine wants more of them, whatever the descriptors.
constexpr int64_t kMostConnections = 65536;
// Of an idle process; with little to give it takes less than a millisecond.
constexpr auto kTrimInterval = std::chrono::seconds(10);

}  // namespace

void SetProcessLimits() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  mallopt(M_ARENA_MAX, kArenas);
  mallopt(M_MMAP_THRESHOLD, kThresholdBytes);
  mallopt(M_TRIM_THRESHOLD, kThresholdBytes);
}

int64_t MaxDescriptors() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  constexpr rlim_t kMost = int64_t{1} << 31;
  return static_cast<int64_t>(std::min(limit.rlim_cur, kMost));
}

int64_t OpenDescriptors() {
  DIR* const folder = opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  int64_t entries = 0;
  while (readdir(folder) != nullptr) ++entries;
  closedir(folder);
  return entries - 3;  // ".", ".." and the folder's own
}

absl::StatusOr<ConnectionLimits> ConnectionLimitsOf(int max_connections, int64_t max_descriptors,
                                                    int level_ports) {
  ConnectionLimits limits;
  limits.metrics = static_cast<int>(std::clamp<int64_t>(max_descriptors / 8, 16, 1024));
  limits.health = static_cast<int>(std::clamp<int64_t>(max_descriptors / 16, 8, 128));
  // Of gateways, each of which has one or a few.
  limits.level = limits.health;
  // Files of the model, gRPC's own, log, threads, connections that are accepted only to be closed.
  const int64_t reserve = std::clamp<int64_t>(max_descriptors / 8, 64, 1024);
  const int64_t most = std::min(max_descriptors - limits.metrics - limits.health -
                                    int64_t{level_ports} * limits.level - reserve,
                                kMostConnections);
  if (most < 1 || max_connections > most) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "max_connections: %d; with a limit of %d open files (ulimit -n) it may be 1 to %d",
        max_connections, max_descriptors, std::max<int64_t>(most, 0)));
  }
  limits.grpc = max_connections > 0 ? max_connections : static_cast<int>(most);
  return limits;
}

bool IdleTrim::Tick(bool idle, std::chrono::steady_clock::time_point now) {
  if (!idle || now - last_ < kTrimInterval) return false;
  malloc_trim(0);
  last_ = now;
  return true;
}

}  // namespace skipstone::server
