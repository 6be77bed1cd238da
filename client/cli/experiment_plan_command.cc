// `skipstone experiment plan`: how long an experiment has to run.
#include <cmath>
#include <memory>

#include "absl/strings/str_format.h"
#include "base/experiment/report/experiment_plan.h"
#include "base/status.h"
#include "client/cli/command.h"
#include "client/cli/exposure_logs.h"

namespace skipstone::client {
namespace {

using experiment::Design;
using experiment::PlanBaseline;

class PlanCommand : public Command {
 public:
  bool needs_server() const override { return false; }
  std::string name() const override { return "experiment plan"; }
  std::string summary() const override { return "says how long an experiment takes"; }
  std::string usage() const override {
    return "[flags] LOG... | --mean M --variance V --units_per_day N\n\n"
           "  skipstone experiment plan --effect 0.05 exposures.jsonl\n"
           "  skipstone experiment plan --mean 240 --variance 9000 --units_per_day 5000\n"
           "  skipstone experiment plan --mean 31 --variance 16 --window 60s\n\n"
           "From the present traffic in exposure logs (an experiment of equal arms will do), or\n"
           "from a baseline: the metric's mean and its variance from unit to unit. With --window "
           "a\n"
           "switchback, whose units are windows: the variance is that of windows' means. How many\n"
           "units an effect takes, in how many days they come, and the smallest effect that "
           "--days\n"
           "can find. Units are new ones: those that come back count once.\n";
  }
  void AddFlags(FlagSet& flags) override;
  absl::Status Prepare(const std::vector<std::string>& arguments) override;
  absl::Status Run(Io& io) override;

 private:
  absl::StatusOr<std::vector<PlanBaseline>> Measure(experiment::PlanSettings& settings) const;

  std::vector<std::string> logs_;
  std::string experiment_;
  std::optional<double> mean_;
  std::optional<double> variance_;
  std::optional<double> units_per_day_;
  std::optional<absl::Duration> window_;
  experiment::PlanSettings settings_;
};

void PlanCommand::AddFlags(FlagSet& flags) {
  flags.Add("experiment", &experiment_, "whose log is the baseline; default: the last one in it");
  flags.Add("mean", &mean_, "of the metric, today");
  flags.Add("variance", &variance_, "of the metric from unit to unit, or from window to window");
  flags.Add("units_per_day", &units_per_day_, "new ones, of all arms; default: those of the log");
  flags.Add("window", &window_, "of a switchback, such as 60s; a log says it itself");
  flags.Add("effect", InRange(&settings_.effect, -0.99, 100),
            "that is to be found, as a share of the mean: 0.05 for 5 %");
  flags.Add("power", InRange(&settings_.power, 0.5, 0.999), "probability that it is found");
  flags.Add("alpha", InRange(&settings_.alpha, 0.0001, 0.5),
            "probability that an effect is found where none is");
  flags.Add("tuning", InRange(&settings_.tuning, 1, 1e9),
            "units at which the intervals that hold at every look are tightest");
  flags.Add("control_share", InRange(&settings_.control_share, 0.001, 0.999),
            "of the units, or of the windows");
  flags.Add("treatment_share", InRange(&settings_.treatment_share, 0.001, 0.999), "likewise");
  flags.Add("days", InRange(&settings_.days, 0.001, 10'000),
            "in which the smallest effect is asked for");
}

absl::Status PlanCommand::Prepare(const std::vector<std::string>& arguments) {
  logs_ = arguments;
  if (logs_.empty() == !mean_.has_value()) {
    return absl::InvalidArgumentError("expected either LOG... or --mean and --variance");
  }
  if (mean_ && !(variance_ && (units_per_day_ || window_))) {
    return absl::InvalidArgumentError("--mean needs --variance, and --units_per_day or --window");
  }
  if (!logs_.empty() && (variance_ || window_)) {
    return absl::InvalidArgumentError("--variance and --window are for a baseline by --mean");
  }
  if (mean_ && (*mean_ == 0 || !std::isfinite(*mean_))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--mean must be a number that is not 0, not %g", *mean_));
  }
  if (variance_ && (!(*variance_ > 0) || !std::isfinite(*variance_))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--variance must be a number above 0, not %g", *variance_));
  }
  if (units_per_day_ && (!(*units_per_day_ > 0) || !std::isfinite(*units_per_day_))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--units_per_day must be a number above 0, not %g", *units_per_day_));
  }
  if (window_ && *window_ < absl::Seconds(1)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--window must be at least 1s, not %s", absl::FormatDuration(*window_)));
  }
  if (settings_.effect == 0) return absl::InvalidArgumentError("--effect must not be 0");
  if (settings_.control_share + settings_.treatment_share > 1 + 1e-9) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--control_share and --treatment_share are more than 1 together: %g and %g",
                        settings_.control_share, settings_.treatment_share));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PlanBaseline>> PlanCommand::Measure(
    experiment::PlanSettings& settings) const {
  SKIPSTONE_ASSIGN_OR_RETURN(const auto report, ReadReport(logs_, {}));
  const experiment::ExperimentReport* found = nullptr;
  for (const auto& candidate : report.experiments) {
    if (!experiment_.empty() && candidate.name != experiment_) continue;
    if (found == nullptr || candidate.last_unix_ms > found->last_unix_ms) found = &candidate;
  }
  if (found == nullptr) {
    return absl::NotFoundError(
        experiment_.empty()
            ? "LOG: no record met an experiment"
            : absl::StrFormat("--experiment: the logs know no \"%s\"", experiment_));
  }
  std::vector<PlanBaseline> baselines = BaselinesOf(*found, settings);
  if (!baselines.empty() && settings.units_per_day > 0) return baselines;
  return absl::FailedPreconditionError(
      "LOG: no arm has two units or windows that differ: nothing says how much they vary");
}

absl::Status PlanCommand::Run(Io& io) {
  experiment::PlanSettings settings = settings_;
  std::vector<PlanBaseline> baselines;
  if (mean_) {
    baselines = {{"given", *mean_, *variance_}};
    if (window_) {
      settings.design = Design::kSwitchback;
      settings.units_per_day = absl::FDivDuration(absl::Hours(24), *window_);
    }
  } else {
    SKIPSTONE_ASSIGN_OR_RETURN(baselines, Measure(settings));
  }
  if (units_per_day_) settings.units_per_day = *units_per_day_;
  const auto plan = MakePlan(baselines, settings);
  io.out << (connection.json ? PlanToJson(plan, settings) : PlanToTable(plan, settings));
  return absl::OkStatus();
}

}  // namespace

std::unique_ptr<Command> MakeExperimentPlanCommand() { return std::make_unique<PlanCommand>(); }

}  // namespace skipstone::client
