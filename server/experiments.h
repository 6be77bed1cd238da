// A/B experiments over skip levels: assigns requests that choose no skip themselves to arms.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/levels.h"
#include "server/server_config.h"

namespace skipstone::server {

// What an assignment may depend on.
struct AssignmentInput {
  std::string experiment_key;
  // The value of a metadata key (lower case) of the call, if it has one.
  std::function<std::optional<std::string>(const std::string& key)> metadata;
  std::chrono::system_clock::time_point now;
};

struct Assignment {
  std::string experiment;  // empty, as the arm is: none
  std::string arm;
  Level level;
  bool isolate_prefix_cache = false;
};

// Immutable, so thread-safe.
class Experiments {
 public:
  // INVALID_ARGUMENT names the experiment: unknown level, malformed unit, names that repeat.
  static absl::StatusOr<Experiments> Make(const ServerConfig& config, const Levels& levels);

  // The first enabled experiment whose unit the request carries assigns it. Sticky: an arm is a
  // function of (salt, unit, arms) alone, in every process. When weights change, a unit moves only
  // to an arm whose weight grew against that of its own.
  std::optional<Assignment> Assign(const AssignmentInput& input) const;

  const std::vector<ExperimentConfig>& all() const { return configs_; }

 private:
  enum class UnitKind { kMetadata, kExperimentKey, kWindow };
  struct Experiment {
    UnitKind unit;
    std::string metadata_key;
    std::chrono::milliseconds window{};
    std::vector<Level> arm_levels;
    std::string salt;
    std::vector<double> weights;  // the greatest is 1
  };

  static absl::Status ParseUnit(const ExperimentConfig& config, Experiment& experiment);
  static size_t ArmOf(const Experiment& experiment, const ExperimentConfig& config,
                      const std::string& unit);
  static std::optional<std::string> Unit(const Experiment& experiment,
                                         const AssignmentInput& input);

  std::vector<ExperimentConfig> configs_;
  std::vector<Experiment> experiments_;  // by index of configs_
};

// In (0, 1), from FNV-1a 64 of salt, unit and arm, parted by zero bytes, mixed: uniform also over
// units that differ in one character. A contract: see ExperimentArm in inference.proto.
double UnitFraction(const std::string& salt, const std::string& unit, const std::string& arm);

}  // namespace skipstone::server
