#include "base/experiment/report/report_builder.h"

#include <algorithm>

#include "base/experiment/report/verdict.h"

namespace skipstone::experiment {

const EffectReport* ExperimentReport::EffectOf(size_t arm, const std::string& key) const {
  const auto metric = MetricByKey(key);
  const auto found = std::ranges::find_if(effects, [&](const EffectReport& effect) {
    return effect.arm == arm && effect.metric == metric;
  });
  return found == effects.end() ? nullptr : &*found;
}

ExperimentTally* ReportBuilder::TallyOf(const Exposure& exposure) {
  const std::tuple key(exposure.experiment, exposure.generation.value, exposure.design);
  const auto found = tallies_.find(key);
  if (found != tallies_.end()) return &found->second;
  if (tallies_.size() == kMostTallies) return nullptr;
  return &tallies_.emplace(key, ExperimentTally(exposure)).first->second;
}

void ReportBuilder::Add(const ExposureRecord& record) {
  if (record.exposures.empty()) ++outside_;
  for (const Exposure& exposure : record.exposures) {
    ExperimentTally* const tally = TallyOf(exposure);
    if (tally != nullptr) tally->Add(record, exposure);
    dropped_ += tally == nullptr;
  }
}

void ReportBuilder::Add(const ArmTraffic& traffic) {
  ExperimentTally* const tally = TallyOf({.experiment = traffic.experiment});
  if (tally != nullptr) tally->Add(traffic);
  dropped_ += tally == nullptr;
}

ExposureReport ReportBuilder::Finish(const ExposureCounts& counts) const {
  ExposureReport report = {
      .options = options_, .counts = counts, .outside = outside_, .dropped = dropped_};
  std::map<std::string, int> generations;
  for (const auto& [key, tally] : tallies_) {
    ++generations[std::get<0>(key)];
    report.experiments.push_back(tally.Report(options_));
  }
  for (ExperimentReport& experiment : report.experiments) {
    experiment.generations = generations[experiment.name];
    experiment.verdicts = VerdictsOf(experiment);
    experiment.notes = NotesOf(experiment, options_);
  }
  std::ranges::stable_sort(report.experiments, [](const auto& a, const auto& b) {
    return std::tie(a.name, a.first_unix_ms) < std::tie(b.name, b.first_unix_ms);
  });
  return report;
}

}  // namespace skipstone::experiment
