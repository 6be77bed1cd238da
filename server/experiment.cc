#include "server/experiment.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/hash.h"
#include "base/status.h"
#include "server/rpc.h"

namespace skipstone::server {
namespace {

using experiment::Design;
using experiment::Exposure;
using experiment::Hash;
using experiment::Reason;

// Names of experiments, layers and arms travel as metadata, and "/" parts them there.
absl::Status CheckName(const std::string& field, const std::string& name) {
  if (!name.empty() && IsMetadataText(name) && name.find('/') == std::string::npos) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: '%s' is not a name (printable ASCII without '/')", field, name));
}

absl::Status CheckNames(const ExperimentConfig& config) {
  SKIPSTONE_RETURN_IF_ERROR(CheckName("experiments", config.name));
  const std::string field = "experiments." + config.name;
  if (!config.layer.empty()) {
    SKIPSTONE_RETURN_IF_ERROR(CheckName(field + ".layer", config.layer));
  }
  for (const ArmConfig& arm : config.arms) {
    SKIPSTONE_RETURN_IF_ERROR(CheckName(field + ".arms", arm.name));
  }
  return absl::OkStatus();
}

// The lower-case KEY of metadata:KEY, or nothing.
std::string KeyOf(const std::string& text) {
  constexpr std::string_view kMetadata = "metadata:";
  if (!text.starts_with(kMetadata)) return "";
  return absl::AsciiStrToLower(text.substr(kMetadata.size()));
}

// Gateways send an empty value for who is unknown: that is none.
std::optional<std::string> Metadata(const AssignmentInput& input, const std::string& key) {
  std::optional<std::string> value = input.metadata ? input.metadata(key) : std::nullopt;
  if (value && value->empty()) value.reset();
  return value;
}

bool Excludes(const ExcludeConfig& exclude, const AssignmentInput& input) {
  return std::ranges::count(exclude.tenants, input.tenant) > 0 ||
         (exclude.priority_above && input.priority > *exclude.priority_above) ||
         (exclude.priority_below && input.priority < *exclude.priority_below);
}

std::vector<experiment::Arm> ArmsOf(const ExperimentConfig& config) {
  std::vector<experiment::Arm> arms;
  for (const ArmConfig& arm : config.arms) arms.push_back({arm.name, arm.weight});
  return arms;
}

bool IsAll(const SliceConfig& slice) { return slice.from == 0 && slice.to == 1; }

// Slices are cut by the layer alone, so that those of its experiments do not overlap.
bool InSlice(const ExperimentConfig& config, const std::string& unit) {
  if (IsAll(config.slice)) return true;
  const double place = experiment::UnitFraction("layer:" + config.layer, unit, "");
  return place >= config.slice.from && place < config.slice.to;
}

}  // namespace

absl::Status ErrorIn(const ExperimentConfig& config, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrFormat("experiments.%s.%s", config.name, what));
}

Experiment::Experiment(const ExperimentConfig& config)
    : config_(config), salt_(config.salt.empty() ? config.name : config.salt) {}

absl::StatusOr<Experiment> Experiment::Make(const ExperimentConfig& config, const Levels& levels,
                                            uint64_t model) {
  SKIPSTONE_RETURN_IF_ERROR(CheckNames(config));
  Experiment made(config);
  SKIPSTONE_RETURN_IF_ERROR(made.SetUnit());
  SKIPSTONE_RETURN_IF_ERROR(made.CheckSlice());
  SKIPSTONE_RETURN_IF_ERROR(made.SetLevels(levels));
  SKIPSTONE_RETURN_IF_ERROR(made.unit_ == UnitKind::kWindow ? made.SetSchedule() : made.SetSteps());
  made.SetGenerations(model);
  return made;
}

absl::Status Experiment::SetUnit() {
  const std::string& unit = config_.unit;
  absl::Duration length;
  if (unit == "request.experiment_key") {
    unit_ = UnitKind::kExperimentKey;
  } else if (unit_key_ = KeyOf(unit); !unit_key_.empty()) {
    unit_ = UnitKind::kMetadata;
  } else if (unit.starts_with("window:") && absl::ParseDuration(unit.substr(7), &length)) {
    unit_ = UnitKind::kWindow;
    window_ = absl::ToChronoMilliseconds(length);
  } else if (!unit.empty()) {
    return ErrorIn(
        config_, absl::StrFormat(
                     "unit: '%s' is not metadata:KEY, request.experiment_key or window:60s", unit));
  }
  const bool windows = unit_ == UnitKind::kWindow;
  if (!config_.design.empty() && (config_.design == "switchback") != windows) {
    return ErrorIn(config_, absl::StrFormat(
                                "design: '%s' contradicts the unit '%s': windows are a switchback, "
                                "all other units are mixed",
                                config_.design, unit));
  }
  if (config_.washout && !windows) return ErrorIn(config_, "washout: only windows have one");
  if (windows && !config_.arm_from.empty()) {
    return ErrorIn(config_, "arm_from: the schedule says which arm a window has");
  }
  if (!config_.ramp.steps.empty() && (windows || !config_.arm_from.empty())) {
    return ErrorIn(config_, "ramp: only units that the weights share out are ramped");
  }
  arm_key_ = KeyOf(config_.arm_from);
  return absl::OkStatus();
}

absl::Status Experiment::CheckSlice() const {
  const SliceConfig& slice = config_.slice;
  if (!(slice.from < slice.to)) {
    return ErrorIn(config_,
                   absl::StrFormat("slice: from %g to %g there is nobody", slice.from, slice.to));
  }
  const bool units = unit_ == UnitKind::kMetadata || unit_ == UnitKind::kExperimentKey;
  if (units || IsAll(slice)) return absl::OkStatus();
  return ErrorIn(config_, "slice: only units of metadata or a key can be sliced");
}

absl::Status Experiment::SetLevels(const Levels& levels) {
  for (const ArmConfig& arm : config_.arms) {
    if (arm.level.empty() != config_.arms.front().level.empty()) {
      return ErrorIn(config_, "arms: all of them name a level, or none does");
    }
    if (arm.level.empty()) continue;
    auto level = levels.Find(arm.level);
    if (!level.ok()) {
      return ErrorIn(
          config_, absl::StrFormat("arms.%s: %s", arm.name, std::string(level.status().message())));
    }
    levels_.push_back(*std::move(level));
  }
  return absl::OkStatus();
}

absl::Status Experiment::SetSchedule() {
  const auto washout = config_.washout ? absl::ToChronoMilliseconds(*config_.washout) : window_ / 4;
  auto schedule = experiment::Switchback::Make(salt_, ArmsOf(config_), window_, washout);
  if (!schedule.ok()) return ErrorIn(config_, std::string(schedule.status().message()));
  schedule_ = *std::move(schedule);
  Step& step = steps_.emplace_back();
  for (const int count : schedule_->block_counts()) {
    step.shares.push_back(count / static_cast<double>(schedule_->windows_of_block()));
  }
  return absl::OkStatus();
}

absl::Status Experiment::SetSteps() {
  const std::vector<experiment::Arm> arms = ArmsOf(config_);
  const absl::Status checked = experiment::CheckArms(arms);
  if (!checked.ok()) return ErrorIn(config_, std::string(checked.message()));
  const std::vector<double> shares = experiment::SharesOf(arms);
  SKIPSTONE_RETURN_IF_ERROR(CheckRamp(1 - shares[0]));
  std::vector<double> treated = config_.ramp.steps;
  treated.push_back(1 - shares[0]);
  for (const double part : treated) {
    // The others keep their weights against each other.
    std::vector<experiment::Arm> of_step = arms;
    for (size_t i = 0; i < arms.size() && part != treated.back(); ++i) {
      of_step[i].weight = i == 0 ? 1 - part : part * shares[i] / treated.back();
    }
    SKIPSTONE_ASSIGN_OR_RETURN(auto split, experiment::WeightedArms::Make(salt_, of_step));
    steps_.push_back({experiment::SharesOf(of_step), std::move(split), {}});
  }
  return absl::OkStatus();
}

// `treated`: what the weights give to arms but the first.
absl::Status Experiment::CheckRamp(double treated) const {
  const std::vector<double>& ramp = config_.ramp.steps;
  if (ramp.empty() || ramp.back() < treated) return absl::OkStatus();
  return ErrorIn(config_, absl::StrFormat("ramp.steps: %g is not below %g, which the weights give "
                                          "to arms but the first",
                                          ramp.back(), treated));
}

// Of all that decides what an arm is and who is in it, but not whether the experiment runs.
void Experiment::SetGenerations(uint64_t model) {
  const ExcludeConfig& exclude = config_.exclude;
  std::vector<std::string> parts = {config_.name,
                                    config_.layer,
                                    config_.unit,
                                    config_.arm_from,
                                    salt_,
                                    absl::StrCat(schedule_ ? schedule_->washout().count() : 0),
                                    absl::StrJoin(exclude.tenants, "\n"),
                                    absl::StrCat(exclude.priority_above.value_or(1000)),
                                    absl::StrCat(exclude.priority_below.value_or(-1000)),
                                    absl::StrCat(config_.slice.from, " ", config_.slice.to),
                                    absl::StrCat(config_.isolate_prefix_cache)};
  for (size_t i = 0; i < config_.arms.size(); ++i) {
    const ArmConfig& arm = config_.arms[i];
    parts.insert(parts.end(), {arm.name, absl::StrCat(arm.weight), arm.level});
    if (sets_levels()) parts.push_back(levels_[i].skip.ToString());
  }
  const uint64_t all = Fnv1a64(absl::StrJoin(parts, "\n")) ^ model;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const bool is_last = i + 1 == steps_.size();
    const uint64_t step = is_last ? 0 : Fnv1a64(absl::StrCat(config_.ramp.steps[i]));
    steps_[i].generation = {Mix64(all ^ step)};
  }
}

std::vector<uint64_t> Experiment::generations() const {
  std::vector<uint64_t> all;
  for (const Step& step : steps_) all.push_back(step.generation.value);
  return all;
}

bool Experiment::takes_every_request() const {
  const ExcludeConfig& exclude = config_.exclude;
  return arm_key_.empty() && IsAll(config_.slice) && exclude.tenants.empty() &&
         !exclude.priority_above && !exclude.priority_below;
}

std::optional<std::string> Experiment::UnitOf(const AssignmentInput& input) const {
  if (unit_ == UnitKind::kMetadata) return Metadata(input, unit_key_);
  if (unit_ != UnitKind::kExperimentKey || input.experiment_key.empty()) return std::nullopt;
  return input.experiment_key;
}

size_t Experiment::ArmNow(const AssignmentInput& input, Exposure& exposure) const {
  const experiment::Switchback::Window window = schedule_->At(input.now);
  exposure.window = {.index = window.index,
                     .ended_index = window.index,
                     .block = window.block,
                     .seconds = static_cast<double>(window_.count()) * 1e-3,
                     .counted = window.counted};
  exposure.reason = Reason::kSplit;
  return window.arm;
}

std::optional<size_t> Experiment::NamedArm(const AssignmentInput& input, Exposure& exposure) const {
  const std::optional<std::string> name = Metadata(input, arm_key_);
  exposure.reason = Reason::kUnitMissing;
  if (!name) return std::nullopt;
  const auto found = std::ranges::find(config_.arms, *name, &ArmConfig::name);
  exposure.reason = found == config_.arms.end() ? Reason::kUnknownArm : Reason::kGatewayArm;
  if (found == config_.arms.end()) return std::nullopt;
  return found - config_.arms.begin();
}

std::optional<size_t> Experiment::ArmOf(const AssignmentInput& input, size_t step,
                                        Exposure& exposure) const {
  if (schedule_) return ArmNow(input, exposure);
  const std::optional<std::string> unit = UnitOf(input);
  if (unit) exposure.unit = Hash{experiment::UnitHash(salt_, *unit)};
  if (!unit && unit_ != UnitKind::kRequest) {
    exposure.reason = Reason::kUnitMissing;
    return std::nullopt;
  }
  if (unit && !InSlice(config_, *unit)) {
    exposure.reason = Reason::kExcluded;
    return std::nullopt;
  }
  if (!arm_key_.empty()) return NamedArm(input, exposure);
  exposure.reason = Reason::kSplit;
  return steps_[step].split->ArmOf(*unit);
}

Experiment::Decision Experiment::Decide(const AssignmentInput& input,
                                        const ArmSwitches& switches) const {
  Decision decision;
  Exposure& exposure = decision.exposure;
  exposure.experiment = config_.name;
  exposure.layer = config_.layer;
  exposure.design = schedule_ ? Design::kSwitchback : Design::kMixed;
  const size_t step = steps_.size() == 1 ? 0 : switches.StepOf(config_.name, steps_.size() - 1);
  exposure.generation = steps_[step].generation;
  const std::optional<size_t> arm = ArmOf(input, step, exposure);
  if (!config_.enabled) {
    exposure.reason = Reason::kDisabled;
    return decision;
  }
  if (Excludes(config_.exclude, input)) {
    exposure.reason = Reason::kExcluded;
    return decision;
  }
  // Nobody is moved to another experiment because an arm of this one is off or unknown.
  decision.final = arm.has_value() || exposure.reason == Reason::kUnknownArm;
  if (!arm) return decision;
  const std::string& name = config_.arms[*arm].name;
  if (switches.IsOff(config_.name, name)) {
    exposure.reason = Reason::kDisabled;
    return decision;
  }
  exposure.arm = name;
  exposure.share = steps_[step].shares[*arm];
  if (sets_levels()) decision.level = &levels_[*arm];
  return decision;
}

}  // namespace skipstone::server
