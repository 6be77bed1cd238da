// Discrete-event simulation of a fleet: requests arrive, a router gives each to a replica, replicas
// run steps. All that decides is the engine's own: Scheduler, PagePool, PrefixIndex. Nothing is
// random but the workload, so equal options give equal results.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "tools/sim/cost_model.h"
#include "tools/sim/histogram.h"
#include "tools/sim/replica.h"
#include "tools/sim/router.h"
#include "tools/sim/time_series.h"
#include "tools/sim/workload.h"

namespace skipstone {

struct FleetOptions {
  SchedulerOptions scheduler;  // of each replica
  int replicas = 1;
  int max_in_flight = 1;  // plans of a replica that are not committed
  Routing routing = Routing::kLeastLoaded;
  std::optional<SkipSet> ceiling;  // how far requests may be moved under load, where it contains
                                   // their set
};

// What one request experienced.
struct RequestRecord {
  Time arrival{};
  Time first_token = kNever;
  Time last_token = kNever;
  Duration longest_gap{};  // between consecutive tokens
  int32_t prompt_tokens = 0;
  int32_t cached_tokens = 0;
  int32_t output_tokens = 0;  // delivered
  int32_t preemptions = 0;
  int16_t kept_layers = 0;  // of attention, at the end
  bool browned_out = false;
  bool shed = false;  // layers while it ran
  int16_t level = 0;
  int16_t replica = -1;  // -1: refused, because it can never fit the pool

  bool refused() const { return replica < 0; }
  friend bool operator==(const RequestRecord&, const RequestRecord&) = default;
};

struct SimResult {
  std::vector<RequestRecord> requests;  // in order of arrival
  std::vector<Histogram> gaps;          // between consecutive tokens, by level
  TimeSeries pages;                     // used, in all replicas; cached ones are not used
  TimeSeries waiting;                   // requests, in all replicas
  int64_t total_pages = 0;
  int64_t steps = 0;
  int64_t rows = 0;
  double busy_seconds = 0;  // of all replicas
  double seconds = 0;       // first arrival to last token
};

// One thread; runs once.
class Simulator {
 public:
  Simulator(const FleetOptions& options, const CostModel& cost, Workload workload);

  SimResult Run();

 private:
  void Arrive(const SimRequest& request);
  void EndStep(int replica, Time now);
  void Touch(int replica);
  void Launch(int replica, Time now);
  Time NextEnd() const;

  const FleetOptions options_;
  Workload workload_;
  Router router_;
  std::vector<std::unique_ptr<Replica>> replicas_;
  std::vector<int> touched_;  // replicas with something new at this instant
  std::vector<int> loads_;    // unfinished requests, by replica
  std::vector<int64_t> pages_;
  std::vector<int64_t> waiting_;
  int64_t pages_used_ = 0;  // sums over the replicas
  int64_t num_waiting_ = 0;
  SimResult result_;
};

}  // namespace skipstone
