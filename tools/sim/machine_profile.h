// What the simulator knows of a machine. A profile is JSON: what skipstone-engine-bench --json
// printed there, or the same keys written by hand.
//
//   read_bandwidth_bytes_per_s, peak_flops_per_s       ceilings
//   decode_floor_fraction, prefill_floor_fraction      floor / measured time
//   weight_element_bytes (default 2)
//   kv_element_bytes     (default 4 where "backend" is "cpu", else 2)
//   step_overhead_ms     (default 0) of every step, beside its stages
//
// Decode is bound by bandwidth and prefill by multiply-adds, so the first fraction scales the one
// ceiling and the second the other: the benchmark's own two steps then take what they took.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "tools/bench/step_cost.h"

namespace skipstone {

struct MachineProfile {
  Ceilings reached;  // the ceilings times the fractions
  ElementBytes bytes{.weights = 2, .kv = 2};
  double step_overhead_s = 0;
};

// INVALID_ARGUMENT names the key and what it must be; unknown keys are left alone.
absl::StatusOr<MachineProfile> ParseMachineProfile(const std::string& json);

}  // namespace skipstone
