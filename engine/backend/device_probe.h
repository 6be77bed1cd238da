// What a benchmark asks of a device whose time is not the host's: its limits, and when it got to a
// point in the enqueued work.
#pragma once

#include <vector>

#include "absl/status/statusor.h"

namespace skipstone {

// What the machine can do at the most.
struct Ceilings {
  double bytes_per_s = 0;  // read bandwidth
  double flops_per_s = 0;  // a multiply-add counts twice
};

// Step thread only, as the backend it belongs to.
class DeviceProbe {
 public:
  virtual ~DeviceProbe() = default;

  // Each the best of several kernels; flops_per_s is that of the products of the weights' type.
  // Between steps. Errors: RESOURCE_EXHAUSTED, INTERNAL (the device is lost).
  virtual absl::StatusOr<Ceilings> MeasureCeilings() = 0;

  // Marks this point of the enqueued work.
  virtual void Mark() = 0;
  // Waits for the last mark. Seconds of device time from each mark since the last call to the next
  // one: one less than the marks.
  virtual absl::StatusOr<std::vector<double>> TakeLaps() = 0;
};

}  // namespace skipstone
