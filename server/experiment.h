// One experiment on skip levels: which requests it takes, and which arm each gets.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/experiment/assignment.h"
#include "base/experiment/exposure_record.h"
#include "base/experiment/switchback.h"
#include "server/arm_switches.h"
#include "server/levels.h"
#include "server/server_config.h"

namespace skipstone::server {

// What an assignment may depend on.
struct AssignmentInput {
  std::string experiment_key;
  // The value of a metadata key (lower case) of the call, if it has one.
  std::function<std::optional<std::string>(const std::string& key)> metadata;
  std::chrono::system_clock::time_point now;
  std::string tenant;
  int priority = 0;
  bool skip_chosen = false;  // the request names its level or sublayers
};

// INVALID_ARGUMENT that names the experiment; `what` begins with the field.
absl::Status ErrorIn(const ExperimentConfig& config, const std::string& what);

// Immutable, so thread-safe.
class Experiment {
 public:
  // INVALID_ARGUMENT names the experiment and its field: an unknown level, a malformed unit, names
  // that repeat, weights of nobody, a design against its unit, a washout that leaves nothing, a
  // ramp that does not ascend to the weights. `model`: its fingerprint, part of the generation.
  static absl::StatusOr<Experiment> Make(const ExperimentConfig& config, const Levels& levels,
                                         uint64_t model);

  struct Decision {
    experiment::Exposure exposure;
    const Level* level = nullptr;  // of the arm, if it has one
    bool final = false;            // no other experiment of the layer may take the request
  };
  // A function of the input, the configuration and the switches alone, in every process.
  Decision Decide(const AssignmentInput& input, const ArmSwitches& switches) const;

  const ExperimentConfig& config() const { return config_; }
  const std::string& salt() const { return salt_; }
  // Of its steps, the last one of the configured weights; without a ramp there is this one alone.
  std::vector<uint64_t> generations() const;
  // All arms name a level, or none does.
  bool sets_levels() const { return !levels_.empty(); }
  // ... of those that have its unit.
  bool takes_every_request() const;
  // Null unless it is a switchback.
  const experiment::Switchback* schedule() const { return schedule_ ? &*schedule_ : nullptr; }

 private:
  enum class UnitKind { kRequest, kMetadata, kExperimentKey, kWindow };

  explicit Experiment(const ExperimentConfig& config);
  absl::Status SetUnit();
  absl::Status SetLevels(const Levels& levels);
  absl::Status SetSchedule();
  absl::Status SetSteps();
  absl::Status CheckRamp(double treated) const;
  absl::Status CheckSlice() const;
  void SetGenerations(uint64_t model);
  // Nothing also where it is the window or the request.
  std::optional<std::string> UnitOf(const AssignmentInput& input) const;
  // The arm's index, or in `exposure` why there is none.
  std::optional<size_t> ArmOf(const AssignmentInput& input, size_t step,
                              experiment::Exposure& exposure) const;
  size_t ArmNow(const AssignmentInput& input, experiment::Exposure& exposure) const;
  std::optional<size_t> NamedArm(const AssignmentInput& input,
                                 experiment::Exposure& exposure) const;

  ExperimentConfig config_;
  std::string salt_;
  UnitKind unit_ = UnitKind::kRequest;
  std::string unit_key_;  // of metadata
  std::string arm_key_;   // of metadata; empty: the arm is ours to choose
  std::chrono::milliseconds window_{};
  std::vector<Level> levels_;  // by arm; none: its arms set no level
  // Of the ramp; the last one has the configured weights.
  struct Step {
    std::vector<double> shares;                     // by arm
    std::optional<experiment::WeightedArms> split;  // none of a switchback
    experiment::Hash generation;
  };
  std::vector<Step> steps_;
  std::optional<experiment::Switchback> schedule_;
};

}  // namespace skipstone::server
