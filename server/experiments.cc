#include "server/experiments.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/hash.h"
#include "base/status.h"
#include "server/rpc.h"

namespace skipstone::server {
namespace {

// Names of experiments and arms travel as metadata, and "/" parts them there.
absl::Status CheckName(const std::string& field, const std::string& name) {
  if (!name.empty() && IsMetadataText(name) && name.find('/') == std::string::npos) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: '%s' is not a name (printable ASCII without '/')", field, name));
}

}  // namespace

double UnitFraction(const std::string& salt, const std::string& unit, const std::string& arm) {
  constexpr std::string_view kZero("\0", 1);
  uint64_t hash = Fnv1a64(unit, Fnv1a64(kZero, Fnv1a64(salt)));
  hash = Mix64(Fnv1a64(arm, Fnv1a64(kZero, hash)));
  return (static_cast<double>(hash >> 12) + 0.5) * 0x1.0p-52;
}

absl::Status Experiments::ParseUnit(const ExperimentConfig& config, Experiment& experiment) {
  const std::string& unit = config.unit;
  if (unit == "request.experiment_key") {
    experiment.unit = UnitKind::kExperimentKey;
    return absl::OkStatus();
  }
  if (unit.starts_with("metadata:") && unit.size() > 9) {
    experiment.unit = UnitKind::kMetadata;
    experiment.metadata_key = absl::AsciiStrToLower(unit.substr(9));
    return absl::OkStatus();
  }
  absl::Duration window;
  if (unit.starts_with("window:") && absl::ParseDuration(unit.substr(7), &window) &&
      window >= absl::Seconds(1)) {
    experiment.unit = UnitKind::kWindow;
    experiment.window = absl::ToChronoMilliseconds(window);
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "experiments.%s.unit: '%s' is not metadata:KEY, request.experiment_key or window:60s",
      config.name, unit));
}

absl::StatusOr<Experiments> Experiments::Make(const ServerConfig& config, const Levels& levels) {
  Experiments experiments;
  std::set<std::string> names;
  for (const ExperimentConfig& from : config.experiments) {
    SKIPSTONE_RETURN_IF_ERROR(CheckName("experiments", from.name));
    if (!names.insert(from.name).second) {
      return absl::InvalidArgumentError(
          absl::StrFormat("experiments: the name '%s' appears twice", from.name));
    }
    Experiment experiment;
    SKIPSTONE_RETURN_IF_ERROR(ParseUnit(from, experiment));
    std::set<std::string> arms;
    for (const ArmConfig& arm : from.arms) {
      SKIPSTONE_RETURN_IF_ERROR(CheckName("experiments." + from.name + ".arms", arm.name));
      if (!arms.insert(arm.name).second) {
        return absl::InvalidArgumentError(
            absl::StrFormat("experiments.%s: the arm '%s' appears twice", from.name, arm.name));
      }
      auto level = levels.Find(arm.level);
      if (!level.ok()) {
        return absl::InvalidArgumentError(absl::StrFormat("experiments.%s.arms.%s: %s", from.name,
                                                          arm.name,
                                                          std::string(level.status().message())));
      }
      experiment.arm_levels.push_back(*std::move(level));
      experiment.weights.push_back(arm.weight);
    }
    // No weight, however large or small, overflows.
    const double greatest = *std::ranges::max_element(experiment.weights);
    for (double& weight : experiment.weights) weight /= greatest;
    experiment.salt = from.salt.empty() ? from.name : from.salt;
    experiments.configs_.push_back(from);
    experiments.experiments_.push_back(std::move(experiment));
  }
  return experiments;
}

std::optional<std::string> Experiments::Unit(const Experiment& experiment,
                                             const AssignmentInput& input) {
  switch (experiment.unit) {
    case UnitKind::kMetadata:
      return input.metadata ? input.metadata(experiment.metadata_key) : std::nullopt;
    case UnitKind::kExperimentKey:
      if (input.experiment_key.empty()) return std::nullopt;
      return input.experiment_key;
    case UnitKind::kWindow:
      return absl::StrFormat("%d", input.now.time_since_epoch() / experiment.window);
  }
  return std::nullopt;
}

// Weighted rendezvous hashing: each arm draws an exponential variable at the rate of its weight,
// the first wins. What an arm draws depends on no other arm.
size_t Experiments::ArmOf(const Experiment& experiment, const ExperimentConfig& config,
                          const std::string& unit) {
  size_t best = 0;
  double best_score = -1;
  for (size_t arm = 0; arm < config.arms.size(); ++arm) {
    const double u = UnitFraction(experiment.salt, unit, config.arms[arm].name);
    const double score = -experiment.weights[arm] / std::log(u);
    if (score <= best_score) continue;
    best = arm;
    best_score = score;
  }
  return best;
}

std::optional<Assignment> Experiments::Assign(const AssignmentInput& input) const {
  for (size_t i = 0; i < experiments_.size(); ++i) {
    const ExperimentConfig& config = configs_[i];
    const Experiment& experiment = experiments_[i];
    if (!config.enabled) continue;
    const std::optional<std::string> unit = Unit(experiment, input);
    if (!unit) continue;
    const size_t arm = ArmOf(experiment, config, *unit);
    return Assignment{.experiment = config.name,
                      .arm = config.arms[arm].name,
                      .level = experiment.arm_levels[arm],
                      .isolate_prefix_cache = config.isolate_prefix_cache};
  }
  return std::nullopt;
}

}  // namespace skipstone::server
