#include "base/experiment/report/experiment_tally.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/experiment/report/compare_arms.h"
#include "base/hash.h"
#include "base/statistics/sample_ratio.h"

namespace skipstone::experiment {
namespace {

constexpr size_t kMostOutcomes = 16;
constexpr double kLastMs = 1e15;      // of times that logs make up
constexpr size_t kMostPoints = 240;   // windows in a picture
constexpr double kOtherShare = 1e-6;  // below it rounding, not an arm that nobody met

bool Worse(const WorstRequest& a, const WorstRequest& b) { return a.kl_per_token > b.kl_per_token; }

std::optional<double> ValueOf(const ReportMetric& metric, const WindowSums& sums) {
  if (!(sums[metric.denominator] > 0)) return std::nullopt;
  return sums[metric.numerator] / sums[metric.denominator];
}

// Sequential, over all looks. `shares` and counts by arm; arms that nobody met share what is left.
std::optional<double> SampleRatioP(std::vector<double> shares,
                                   const std::vector<std::vector<int64_t>>& looks) {
  const double left = 1 - std::accumulate(shares.begin(), shares.end(), 0.0);
  const bool has_other = left > kOtherShare;
  if (has_other) shares.push_back(left);
  auto test = statistics::SampleRatioTest::Create(shares);
  if (!test.ok()) return std::nullopt;
  for (std::vector<int64_t> counts : looks) {
    counts.resize(shares.size());
    if (!test->Look(counts).ok()) return std::nullopt;
  }
  return test->p_value();
}

}  // namespace

ExperimentTally::ExperimentTally(const Exposure& exposure) {
  report_.name = exposure.experiment;
  report_.layer = exposure.layer;
  report_.design = exposure.design;
  report_.generation = exposure.generation;
}

size_t ExperimentTally::ArmOf(const std::string& name) {
  const auto found = std::ranges::find(arms_, name, &Arm::name);
  const auto index = static_cast<size_t>(found - arms_.begin());
  if (found == arms_.end() && arms_.size() < kMostArms) arms_.push_back({.name = name});
  return index;
}

void ExperimentTally::Saw(int64_t time_ms) {
  if (report_.first_unix_ms == 0 || time_ms < report_.first_unix_ms) {
    report_.first_unix_ms = time_ms;
  }
  report_.last_unix_ms = std::max(report_.last_unix_ms, time_ms);
}

void ExperimentTally::Add(const ExposureRecord& record, const Exposure& exposure) {
  Saw(record.time_unix_ms);
  if (!exposure.assigned()) {
    ++report_.unassigned[NameOf(exposure.reason)];
    return;
  }
  const size_t arm = ArmOf(exposure.arm);
  if (arm == kMostArms) {
    ++report_.other_arms;
    return;
  }
  arms_[arm].share = exposure.share;
  report_.enlarged += record.enlarged;
  const WindowSums sums = SumsOf(record);
  AddToArm(record, arms_[arm]);
  AddWorst(record, arm);
  if (exposure.design == Design::kSwitchback) {
    windows_.Add(*exposure.window, arm, sums);
    return;
  }
  LookIfDue(record.time_unix_ms);
  report_.without_unit += !exposure.unit;
  units_.Add(exposure.unit ? exposure.unit->value : Fnv1a64(record.request_id), arm, sums);
}

void ExperimentTally::Add(const ArmTraffic& traffic) {
  report_.of_metrics = true;
  Saw(traffic.time_unix_ms);
  const size_t arm = ArmOf(traffic.arm);
  if (arm == kMostArms) {
    for (const auto& [outcome, requests] : traffic.outcomes) report_.other_arms += requests;
    return;
  }
  for (const auto& [outcome, requests] : traffic.outcomes) {
    AddOutcomes(outcome, requests, arms_[arm]);
  }
  LookIfDue(traffic.time_unix_ms);
  units_.Add(spans_++, arm, traffic.sums);
}

void ExperimentTally::AddOutcomes(const std::string& outcome, int64_t requests, Arm& arm) {
  arm.requests += requests;
  const bool is_kept = arm.outcomes.size() < kMostOutcomes || arm.outcomes.contains(outcome);
  arm.outcomes[is_kept ? outcome : "other"] += requests;
}

void ExperimentTally::AddToArm(const ExposureRecord& record, Arm& arm) {
  AddOutcomes(record.outcome, 1, arm);
  if (!record.shadow) return;
  const quality::WindowSums& more = record.shadow->sums;
  arm.shadows.tokens += more.tokens;
  for (int i = 0; i < quality::kBins; ++i) {
    arm.shadows.bins[i].tokens += more.bins[i].tokens;
    arm.shadows.bins[i].correct += more.bins[i].correct;
    arm.shadows.bins[i].confidence += more.bins[i].confidence;
  }
}

void ExperimentTally::AddWorst(const ExposureRecord& record, size_t arm) {
  if (!record.shadow || record.shadow->sums.tokens == 0 || !(record.shadow->sums.kl > 0)) return;
  const double tokens = static_cast<double>(record.shadow->sums.tokens);
  WorstRequest request = {.kl_per_token = record.shadow->sums.kl / tokens,
                          .tokens = record.shadow->sums.tokens,
                          .arm = arm};
  if (worst_.size() == WorstRequest::kMost) {
    if (!Worse(request, worst_.front())) return;
    std::ranges::pop_heap(worst_, Worse);
    worst_.pop_back();
  }
  request.level = record.level;
  request.request_id = record.request_id;
  request.traceparent = record.traceparent.value_or("");
  worst_.push_back(std::move(request));
  std::ranges::push_heap(worst_, Worse);
}

ExperimentTally::Look ExperimentTally::LookAt(int64_t time_ms) const {
  return {time_ms, units_.CountByArm(arms_.size()), units_.MomentsByArm(arms_.size())};
}

// About as far from each other everywhere: of too many looks every second one goes.
void ExperimentTally::LookIfDue(int64_t now_ms) {
  if (now_ms < next_look_ms_) return;
  // Nothing came since the last multiple of the spacing.
  if (next_look_ms_ != 0) looks_.push_back(LookAt(now_ms / spacing_ms_ * spacing_ms_));
  if (looks_.size() == kMostLooks) {
    const int64_t span = looks_.back().time_unix_ms - looks_.front().time_unix_ms;
    spacing_ms_ = std::max(2 * spacing_ms_, span / static_cast<int64_t>(kMostLooks / 2));
    for (size_t i = 0; i < kMostLooks / 2; ++i) looks_[i] = std::move(looks_[2 * i + 1]);
    looks_.resize(kMostLooks / 2);
  }
  next_look_ms_ = (now_ms / spacing_ms_ + 1) * spacing_ms_;
}

std::vector<size_t> ExperimentTally::OrderOfArms(const std::string& control) const {
  std::vector<size_t> order(arms_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t arm) { return arms_[arm].name; });
  auto first = std::ranges::find(order, control, [&](size_t arm) { return arms_[arm].name; });
  if (first == order.end()) {
    first = std::ranges::find(order, "control", [&](size_t arm) { return arms_[arm].name; });
  }
  if (first != order.end()) std::rotate(order.begin(), first, first + 1);
  return order;
}

void ExperimentTally::ReportUnits(const std::vector<size_t>& order, const ReportOptions& options,
                                  ExperimentReport& report) const {
  std::vector<Look> looks = looks_;
  if (!looks.empty() && looks.back().time_unix_ms >= report.last_unix_ms) looks.pop_back();
  looks.push_back(LookAt(report.last_unix_ms));
  std::vector<double> shares;
  for (const Arm& arm : arms_) shares.push_back(arm.share);
  std::vector<std::vector<int64_t>> counts;
  for (Look& look : looks) {
    look.units.resize(arms_.size());
    look.moments.resize(arms_.size());  // of arms that came later
    counts.push_back(look.units);
    LookReport& shown = report.looks.emplace_back();
    shown.time_unix_ms = look.time_unix_ms;
    shown.units = std::accumulate(look.units.begin(), look.units.end(), int64_t{0});
    for (size_t metric = 0; metric < kReportMetrics; ++metric) {
      for (size_t arm = 1; arm < order.size(); ++arm) {
        auto effect =
            CompareUnits(metric, look.moments[order[0]], look.moments[order[arm]], options);
        if (!effect) continue;
        effect->arm = arm;
        shown.effects.push_back(*effect);
      }
    }
  }
  report.effects = report.looks.back().effects;
  report.sample_ratio_p = SampleRatioP(shares, counts);
  for (size_t arm = 0; arm < order.size(); ++arm) {
    report.arms[arm].units = looks.back().units[order[arm]];
    for (size_t metric = 0; metric < kReportMetrics; ++metric) {
      const statistics::Moments<2>& moments = looks.back().moments[order[arm]][metric];
      if (moments.n == 0) continue;
      report.arms[arm].values[metric] = moments.mean[0] / moments.mean[1];
      const auto estimate = statistics::RatioEstimate(moments);
      if (estimate) report.arms[arm].variances[metric] = estimate->unit_variance;
    }
  }
  report.crossed_units = units_.crossed();
}

void ExperimentTally::ReportWindows(const std::vector<size_t>& order, const ReportOptions& options,
                                    ExperimentReport& report) const {
  std::vector<double> shares;
  for (const Arm& arm : arms_) shares.push_back(arm.share);
  const auto rows = windows_.Filled(shares);
  for (size_t metric = 0; metric < kReportMetrics; ++metric) {
    for (size_t arm = 1; arm < order.size(); ++arm) {
      auto effect = CompareWindows(metric, rows, static_cast<int>(order[0]),
                                   static_cast<int>(order[arm]), options);
      if (!effect) continue;
      effect->arm = arm;
      report.effects.push_back(*effect);
    }
  }
  std::vector<WindowSums> sums(order.size());
  std::vector<std::array<statistics::Moments<1>, kReportMetrics>> spread(order.size());
  const size_t itl = *MetricByKey("itl_s");
  for (const auto& [index, row] : rows) {
    const auto arm = std::ranges::find(order, static_cast<size_t>(row.arm)) - order.begin();
    if (row.sums[kRequests] == 0 || arm == std::ssize(order)) continue;
    ++report.arms[arm].units;
    AddTo(sums[arm], row.sums);
    for (size_t i = 0; i < kReportMetrics; ++i) {
      const auto ratio = ValueOf(ReportMetrics()[i], row.sums);
      if (ratio) spread[arm][i].Add({*ratio});
    }
    const auto value = ValueOf(ReportMetrics()[itl], row.sums);
    if (!value) continue;
    const double start_ms = windows_.seconds() * 1e3 * static_cast<double>(index);
    report.windows.push_back({static_cast<int64_t>(std::clamp(start_ms, 0.0, kLastMs)),
                              static_cast<size_t>(arm), *value});
  }
  if (report.windows.size() > kMostPoints) {
    report.windows.erase(report.windows.begin(), report.windows.end() - kMostPoints);
  }
  if (!report.windows.empty()) report.window_metric = itl;
  for (size_t arm = 0; arm < order.size(); ++arm) {
    for (size_t metric = 0; metric < kReportMetrics; ++metric) {
      report.arms[arm].values[metric] = ValueOf(ReportMetrics()[metric], sums[arm]);
      const auto estimate = statistics::MeanEstimate(spread[arm][metric]);
      if (estimate) report.arms[arm].variances[metric] = estimate->unit_variance;
    }
  }
  report.in_washout = windows_.in_washout();
  report.ran_on = windows_.ran_on();
  report.contradictory = windows_.contradictory();
  report.window_seconds = windows_.seconds();
  report.carry_over = options.carry_over;
}

ExperimentReport ExperimentTally::Report(const ReportOptions& options) const {
  ExperimentReport report = report_;
  const std::vector<size_t> order = OrderOfArms(options.control);
  for (const size_t index : order) {
    const Arm& arm = arms_[index];
    ArmReport& shown = report.arms.emplace_back();
    shown.name = arm.name;
    shown.share = arm.share;
    shown.requests = arm.requests;
    shown.outcomes = arm.outcomes;
    if (arm.shadows.tokens > 0) {
      shown.calibration_error = quality::ExpectedCalibrationError({&arm.shadows, 1});
    }
  }
  report.worst = worst_;
  std::ranges::sort(report.worst, Worse);
  for (WorstRequest& request : report.worst) {
    request.arm = static_cast<size_t>(std::ranges::find(order, request.arm) - order.begin());
  }
  if (order.empty()) return report;
  if (report.design == Design::kMixed) {
    ReportUnits(order, options, report);
  } else {
    ReportWindows(order, options, report);
  }
  return report;
}

}  // namespace skipstone::experiment
