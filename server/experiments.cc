#include "server/experiments.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace skipstone::server {
absl::StatusOr<Experiments> Experiments::Make(const ServerConfig& config, const Levels& levels,
                                              uint64_t model) {
  Experiments made;
  for (const ExperimentConfig& each : config.experiments) {
    SKIPSTONE_ASSIGN_OR_RETURN(Experiment experiment, Experiment::Make(each, levels, model));
    if (!each.exclude.tenants.empty() && config.fair_share.empty()) {
      return ErrorIn(each, "exclude.tenants: without fair_share no request has a tenant");
    }
    SKIPSTONE_RETURN_IF_ERROR(made.Add(std::move(experiment)));
  }
  SKIPSTONE_RETURN_IF_ERROR(made.CheckLayers());
  made.Warn(config);
  return made;
}

absl::Status Experiments::Add(Experiment experiment) {
  size_t layer = experiments_.size();
  for (size_t i = 0; i < experiments_.size(); ++i) {
    const ExperimentConfig& other = experiments_[i].config();
    if (other.name == experiment.config().name) {
      return absl::InvalidArgumentError(
          absl::StrFormat("experiments: the name '%s' appears twice", other.name));
    }
    if (other.layer == experiment.config().layer) layer = layers_[i];
  }
  layers_.push_back(layer);
  experiments_.push_back(std::move(experiment));
  return absl::OkStatus();
}

// Of two layers neither salt nor level may be shared.
absl::Status Experiments::CheckLayers() const {
  for (size_t i = 0; i < experiments_.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const Experiment& one = experiments_[j];
      const Experiment& two = experiments_[i];
      if (layers_[i] == layers_[j] || !one.config().enabled || !two.config().enabled) continue;
      const std::string& name = one.config().name;
      if (one.salt() == two.salt()) {
        return ErrorIn(two.config(),
                       absl::StrFormat("salt: '%s' has it too, in another layer: their arms "
                                       "would be correlated",
                                       name));
      }
      if (one.sets_levels() && two.sets_levels()) {
        return ErrorIn(two.config(),
                       absl::StrFormat("layer: its arms set levels, as those of '%s' do: a "
                                       "request has one, so both belong to one layer",
                                       name));
      }
    }
  }
  return absl::OkStatus();
}

void Experiments::Warn(const ServerConfig& config) {
  for (size_t i = 0; i < experiments_.size(); ++i) {
    const Experiment& two = experiments_[i];
    const std::string& name = two.config().name;
    if (!two.config().enabled) continue;
    if (two.schedule() != nullptr && two.schedule()->window() < config.drain_timeout) {
      warnings_.push_back(absl::StrFormat(
          "experiments.%s.unit: windows are shorter than drain_timeout: requests that take so long "
          "run in several",
          name));
    }
    for (size_t j = 0; j < i; ++j) {
      const Experiment& one = experiments_[j];
      if (layers_[i] != layers_[j] || !one.config().enabled || !one.takes_every_request()) continue;
      if (one.config().unit != two.config().unit && one.schedule() == nullptr) continue;
      warnings_.push_back(absl::StrFormat(
          "experiments.%s: '%s' stands before it in its layer and takes all of its requests", name,
          one.config().name));
    }
  }
}

Assignment Experiments::Assign(const AssignmentInput& input) const {
  Assignment assignment;
  std::vector<bool> taken(experiments_.size(), false);  // by layer
  for (size_t i = 0; i < experiments_.size(); ++i) {
    const Experiment& experiment = experiments_[i];
    if (taken[layers_[i]] || (input.skip_chosen && experiment.sets_levels())) continue;
    Experiment::Decision decision = experiment.Decide(input, *switches_);
    taken[layers_[i]] = decision.final;
    experiment::Exposure& exposure = decision.exposure;
    if (exposure.assigned()) {
      if (!assignment.shadow_fraction) {
        assignment.shadow_fraction = experiments_[i].config().shadow_fraction;
      }
      if (assignment.arm.empty() || decision.level != nullptr) {
        assignment.experiment = exposure.experiment;
        assignment.arm = exposure.arm;
      }
      if (decision.level != nullptr) assignment.level = decision.level;
      // No name has a line end.
      if (experiment.config().isolate_prefix_cache) {
        absl::StrAppend(&assignment.cache_salt, assignment.cache_salt.empty() ? "" : "\n",
                        exposure.experiment, "/", exposure.arm);
      }
    }
    assignment.exposures.push_back(std::move(exposure));
  }
  return assignment;
}

}  // namespace skipstone::server
