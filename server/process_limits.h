// Descriptors and memory of this process: what is allowed, what is used, what can be given back.
#pragma once

#include <chrono>
#include <cstdint>

#include "absl/status/statusor.h"

namespace skipstone::server {

// Raises the soft limit of open descriptors to the hard one, and holds malloc to a few arenas: with
// one for each thread what a burst of requests left behind is kept by each. Freed memory goes back
// to the system beyond a MiB an arena. Call before threads start.
void SetProcessLimits();

int64_t MaxDescriptors();
int64_t OpenDescriptors();

// How many connections each port takes, so that all together stay below the descriptors there are.
struct ConnectionLimits {
  int grpc = 0;
  int metrics = 0;
  int health = 0;
  int level = 0;  // each port of one
};
// `max_connections`: of the gRPC port; 0: what the descriptors allow. `level_ports`: so many there
// are. INVALID_ARGUMENT: more than that.
absl::StatusOr<ConnectionLimits> ConnectionLimitsOf(int max_connections, int64_t max_descriptors,
                                                    int level_ports = 0);

// Gives memory that malloc keeps back to the system while no request runs. One thread.
class IdleTrim {
 public:
  // Call every now and then; trims if the last time is long ago. `idle`: no request runs or waits.
  // Returns whether it did.
  bool Tick(bool idle, std::chrono::steady_clock::time_point now);

 private:
  std::chrono::steady_clock::time_point last_;
};

}  // namespace skipstone::server
