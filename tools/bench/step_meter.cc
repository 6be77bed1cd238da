#include "tools/bench/step_meter.h"

#include "base/status.h"

namespace skipstone {
absl::StatusOr<std::vector<StepMeter::Lap>> StepMeter::Execute(std::span<const StepPlan> plans,
                                                               size_t lead) {
  std::vector<Lap> laps(lead + plans.size());
  size_t launched = 0;
  for (size_t done = 0; done < laps.size(); ++done) {
    for (; launched < laps.size() && launched < done + runner_.max_in_flight(); ++launched) {
      const Time start = SystemClock().Now();
      runner_.Launch(plans[launched < lead ? 0 : launched - lead]);
      laps[launched].launch_seconds = Seconds(SystemClock().Now() - start);
    }
    SKIPSTONE_RETURN_IF_ERROR(runner_.Collect().status);
    laps[done].done = SystemClock().Now();
  }
  return laps;
}

absl::Status StepMeter::RunUnmeasured(std::span<const StepPlan> plans) {
  return Execute(plans, /*lead=*/0).status();
}

absl::Status StepMeter::MeasureAll(std::span<const StepPlan> plans, Phase* phase) {
  SKIPSTONE_RETURN_IF_ERROR(DropStageTimes());
  const Time start = SystemClock().Now();
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<Lap> laps, Execute(plans, /*lead=*/0));
  Sample sample{.seconds = Seconds(laps.back().done - start), .ceilings = ceilings_};
  std::vector<StageCost> costs;
  for (size_t i = 0; i < plans.size(); ++i) {
    sample.launch_seconds += laps[i].launch_seconds;
    const std::vector<StageCost> step = CostsOf(plans[i]);
    costs.insert(costs.end(), step.begin(), step.end());
  }
  SetCost(costs, &sample);
  phase->samples.push_back(sample);
  AddStageCosts(costs, phase);
  return TakeStageTimes(/*runs=*/1, phase);
}

absl::Status StepMeter::MeasureEach(std::span<const StepPlan> plans, Phase* phase) {
  const size_t lead = runner_.max_in_flight() > 1 ? 1 : 0;
  SKIPSTONE_RETURN_IF_ERROR(DropStageTimes());
  const Time start = SystemClock().Now();
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<Lap> laps, Execute(plans, lead));
  for (size_t i = 0; i < laps.size(); ++i) {
    const std::vector<StageCost> costs = CostsOf(plans[i < lead ? 0 : i - lead]);
    AddStageCosts(costs, phase);
    if (i < lead) continue;
    Sample sample{.seconds = Seconds(laps[i].done - (i > 0 ? laps[i - 1].done : start)),
                  .launch_seconds = laps[i].launch_seconds,
                  .ceilings = ceilings_};
    SetCost(costs, &sample);
    phase->samples.push_back(sample);
  }
  return TakeStageTimes(static_cast<int>(laps.size()), phase);
}

std::vector<StageCost> StepMeter::CostsOf(const StepPlan& plan) {
  rows_.Build(plan);
  return CostOf(shape_, bytes_, rows_.input());
}

void StepMeter::SetCost(std::span<const StageCost> costs, Sample* sample) const {
  sample->cost = Total(costs);
  if (ceilings_.bytes_per_s > 0) sample->floor_seconds = Floor(costs, ceilings_);
}

void StepMeter::AddStageCosts(std::span<const StageCost> costs, Phase* phase) const {
  for (const StageCost& cost : costs) {
    StageSum& sum = phase->stages[static_cast<int>(cost.stage)];
    sum.bytes += cost.bytes();
    sum.flops += cost.flops;
    if (ceilings_.bytes_per_s > 0) sum.floor_seconds += cost.Floor(ceilings_);
  }
}

absl::Status StepMeter::DropStageTimes() {
  return timed_ == nullptr ? absl::OkStatus() : timed_->Take().status();
}

absl::Status StepMeter::TakeStageTimes(int runs, Phase* phase) {
  phase->stage_runs += runs;
  if (timed_ == nullptr) return absl::OkStatus();
  SKIPSTONE_ASSIGN_OR_RETURN(const StageSeconds seconds, timed_->Take());
  for (int s = 0; s < kNumStages; ++s) phase->stages[s].seconds += seconds[s];
  return absl::OkStatus();
}

}  // namespace skipstone
