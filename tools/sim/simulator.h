// Discrete-event simulation of a fleet: requests arrive, a router gives each to a replica, replicas
// run steps. All that decides is the engine's own: Scheduler, PagePool, PrefixIndex. Nothing is
// random but the workload, so equal options give equal results.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/workload/histogram.h"
#include "base/workload/request_record.h"
#include "base/workload/workload.h"
#include "engine/saturation.h"
#include "tools/sim/autoscaler.h"
#include "tools/sim/cost_model.h"
#include "tools/sim/replica.h"
#include "tools/sim/router.h"
#include "tools/sim/time_series.h"

namespace skipstone {

// The skip sets of a mix's parts. INVALID_ARGUMENT names what is wrong.
absl::StatusOr<std::vector<SkipSet>> ParseSkipSets(const std::vector<MixPart>& mix, int num_layers);

struct FleetOptions {
  SchedulerOptions scheduler;  // of each replica
  int replicas = 1;            // at the start
  AutoscalerOptions autoscaler;
  int max_queue = 1024;   // of a replica: what its saturation is measured by
  int max_in_flight = 1;  // plans of a replica that are not committed
  Routing routing = Routing::kLeastLoaded;
  std::optional<SkipSet> ceiling;  // how far requests may be moved under load, where it contains
                                   // their set
};

struct SimRecord : RequestRecord {
  int32_t cached_tokens = 0;  // of the prompt, at the first start
  int32_t preemptions = 0;
  int32_t stored_tokens = 0;    // at the end
  int64_t pages = 0;            // that these need, shared ones included
  int16_t kept_layers = 0;      // of attention, at the end
  int16_t windowed_layers = 0;  // of these
  int16_t replica = -1;         // -1: refused, because it can never fit the pool

  bool refused() const { return replica < 0; }
  friend bool operator==(const SimRecord&, const SimRecord&) = default;
};

struct SimResult {
  std::vector<SimRecord> requests;  // in order of arrival
  std::vector<Histogram> gaps;      // between consecutive tokens, by part of the mix
  TimeSeries pages;                 // used, in all replicas; cached ones are not used
  TimeSeries waiting;               // requests, in all replicas
  TimeSeries serving;               // replicas that get requests
  TimeSeries shed;                  // shed level, mean over those
  int64_t total_pages = 0;
  int64_t steps = 0;
  int64_t rows = 0;
  double busy_seconds = 0;  // of all replicas
  double seconds = 0;       // first arrival to last token
};

// One thread; runs once.
class Simulator {
 public:
  // `skips`: by part of the workload's mix.
  Simulator(const FleetOptions& options, const CostModel& cost, Workload workload,
            std::vector<SkipSet> skips);

  SimResult Run();

 private:
  void Arrive(const PlannedRequest& request);
  void EndStep(int replica, Time now);
  void EndsUnder(const SkipSet& skip, SimRecord& record) const;
  void Touch(int replica);
  void Launch(int replica, Time now);
  Time NextEnd() const;
  // Up to `now`: what the autoscaler looks at, and what it decides.
  void Scale(Time now);
  double Demand(const Replica& replica) const;

  const FleetOptions options_;
  Workload workload_;
  const std::vector<SkipSet> skips_;
  Router router_;
  std::vector<std::unique_ptr<Replica>> replicas_;
  std::vector<int> touched_;  // replicas with something new at this instant
  std::vector<int> loads_;    // unfinished requests, by replica
  std::vector<int64_t> pages_;
  std::vector<int64_t> waiting_;
  int64_t pages_used_ = 0;  // sums over the replicas
  int64_t num_waiting_ = 0;
  Autoscaler autoscaler_;
  EngineOptions engine_;       // of a replica
  double demand_ = 0;          // mean over those that serve
  double demand_seconds_ = 0;  // its integral, from the last decision
  Time demand_since_{};
  Time decided_{};
  SimResult result_;
};

}  // namespace skipstone
