// The command line of skipstone-sim.
#pragma once

#include <cstdint>
#include <string>

#include "base/flag_set.h"
#include "base/workload/group_report.h"
#include "base/workload/workload.h"
#include "tools/sim/simulator.h"

namespace skipstone {

struct SimOptions {
  std::string model = "synthetic:llama-2-7b";
  std::string profile;
  std::string trace;
  std::string prompt = "128-512";
  std::string output = "32-128";
  std::string skip = "none";
  std::string routing = "least-loaded";
  std::string ceiling;
  int64_t requests = 1000;
  double rate = 1;
  double itl_bound_ms = 0;
  double start_s = 60;
  WorkloadOptions workload{.prefix_tokens = 256};
  FleetOptions fleet{.scheduler = {.brownout_waiting = 512}};
  GoodputLimits goodput;

  void AddTo(FlagSet& flags);
  // Makes what the texts say, for a model of that shape, and reads the trace. INVALID_ARGUMENT or
  // NOT_FOUND name the flag.
  absl::Status Resolve(const ModelShape& shape);
};

}  // namespace skipstone
