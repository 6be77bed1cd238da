// A/B experiments over skip levels: assigns requests to arms.
//
// Layers. Experiments of one layer are exclusive: the first that takes a request has it; with
// slices of the layer's units each of several takes its own. Layers are independent: each deals by
// salts of its own, so a request is in one experiment of every layer, and no arm of one layer is
// more frequent in an arm of another. As in overlapping experiments (Tang et al. 2010) a layer owns
// what its experiments change: all that set the skip level are in one layer, since a request has
// one level. Experiments of other layers have arms without a level: what they change is elsewhere,
// and here they are only recorded.
//
// A request that chooses its skip itself is in no experiment that sets levels.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/arm_switches.h"
#include "server/experiment.h"
#include "server/levels.h"
#include "server/server_config.h"

namespace skipstone::server {

struct Assignment {
  // What each experiment made of the request, also where it did not take it, in their order.
  std::vector<experiment::Exposure> exposures;
  // The arm that stands in labels and answers: of the experiment that sets levels, else of the
  // first; empty, as the experiment is: none.
  std::string experiment;
  std::string arm;
  const Level* level = nullptr;           // of the experiments; null: no arm says
  std::optional<double> shadow_fraction;  // of the first experiment that took it and says one
  std::string cache_salt;                 // equal in equal arms that keep their prefix pages apart
};

// Immutable but for the switches, and thread-safe.
class Experiments {
 public:
  // INVALID_ARGUMENT: the errors of Experiment; a name twice; two layers that set levels or have
  // one salt; tenants without fair_share.
  static absl::StatusOr<Experiments> Make(const ServerConfig& config, const Levels& levels,
                                          uint64_t model = 0);

  // A function of the input, the configuration and the switches alone, in every process.
  Assignment Assign(const AssignmentInput& input) const;

  const std::vector<Experiment>& all() const { return experiments_; }
  // Arms that are off while the server runs.
  ArmSwitches& switches() const { return *switches_; }
  // What is allowed, and hardly meant.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  absl::Status Add(Experiment experiment);
  absl::Status CheckLayers() const;
  void Warn(const ServerConfig& config);

  std::vector<Experiment> experiments_;
  std::vector<size_t> layers_;  // numbers, by experiment
  std::vector<std::string> warnings_;
  std::unique_ptr<ArmSwitches> switches_ = std::make_unique<ArmSwitches>();
};

}  // namespace skipstone::server
