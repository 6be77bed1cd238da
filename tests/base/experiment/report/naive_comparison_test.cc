// Why latencies need a switchback: on the same planted truth, a step time of 1.5 times the
// control's, the usual A/B test by units and the switchback. What is printed is the table of
// base/experiment/RESULTS.md.
#include <array>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "base/experiment/report/compare_arms.h"
#include "base/experiment/switchback.h"
#include "base/statistics/effects.h"
#include "gtest/gtest.h"
#include "tests/base/experiment/report/example_log.h"

namespace skipstone::experiment {
namespace {

constexpr int kRuns = 400;
constexpr double kTruth = 0.5;  // a level that makes a step 1.5 times as long
constexpr int kWindows = 240;   // four hours of minutes
constexpr int kRequests = 40;   // a window
constexpr double kWashout = 1.0 / 6;
constexpr double kStep = 0.02;  // seconds

struct Estimate {
  double value = 0;
  statistics::Interval interval;
};

// What the machine does to all requests of a window: its load goes up and down through the day, and
// is more like that of the window before than like others.
std::vector<double> Loads(uint64_t seed) {
  std::vector<double> loads;
  double drift = 0;
  for (int window = 0; window < kWindows; ++window) {
    drift = 0.8 * drift + 0.05 * Normal(Mix64(seed) + window);
    loads.push_back(std::exp(drift + 0.3 * std::sin(2 * M_PI * (window / 240.0 + Uniform(seed)))));
  }
  return loads;
}

// A request's own part.
double Noise(uint64_t seed, int window, int request) {
  return std::exp(0.2 * Normal(Mix64(seed + 77) + window * kRequests + request));
}

// Units in two arms at the same time: a step has requests of both and takes as long as its mix of
// them, for all of them.
Estimate ByUnits(uint64_t seed) {
  std::array<statistics::Moments<2>, 2> arms;
  const std::vector<double> loads = Loads(seed);
  for (int window = 0; window < kWindows; ++window) {
    for (int request = 0; request < kRequests; ++request) {
      const size_t arm = Mix64(seed * 1'000'003 + window * kRequests + request) % 2;
      const double step = kStep * loads[window] * (1 + kTruth / 2);
      arms[arm].Add({step * Noise(seed, window, request), 1});
    }
  }
  const auto effect = RatioEffect(ReportMetrics()[*MetricByKey("itl_s")], arms[0], arms[1]);
  return {effect->value, *statistics::WelchInterval(*effect, 0.05)};
}

// All traffic in one arm by window. In the washout steps still have requests of the other arm.
Estimate BySwitchback(uint64_t seed) {
  const std::vector<Arm> arms = {{"control", 1}, {"treatment", 1}};
  using std::chrono::seconds;
  const auto schedule = Switchback::Make(absl::StrCat(seed), arms, seconds(60), seconds(10));
  const std::vector<double> loads = Loads(seed);
  WindowTable table;
  for (int window = 0; window < kWindows; ++window) {
    for (int request = 0; request < kRequests; ++request) {
      const double part = (request + 0.5) / kRequests;
      const Switchback::Window at = schedule->At(Switchback::Time(
          std::chrono::milliseconds(static_cast<int64_t>(60'000 * (window + part)))));
      const bool is_mixed = part < kWashout && schedule->ArmOf(std::max(window - 1, 0)) != at.arm;
      const double treated = is_mixed ? 0.5 : static_cast<double>(at.arm);
      ExposureRecord record = WindowRecord(request, window, arms[at.arm].name);
      record.itl_mean_s =
          kStep * loads[window] * (1 + kTruth * treated) * Noise(seed, window, request);
      const ExposureWindow exposed = {.index = at.index,
                                      .ended_index = at.index,
                                      .block = at.block,
                                      .seconds = 60,
                                      .counted = at.counted};
      table.Add(exposed, at.arm, SumsOf(record));
    }
  }
  const std::vector<double> shares = {0.5, 0.5};
  const auto effect = CompareWindows(*MetricByKey("itl_s"), table.Filled(shares), 0, 1, {});
  return {effect->value, effect->interval.value_or(statistics::Interval{})};
}

struct Summary {
  double mean = 0;
  double width = 0;
  int covered = 0;
  int finds_nothing = 0;  // intervals that hold 0

  explicit Summary(Estimate (*run)(uint64_t seed)) {
    for (uint64_t seed = 1; seed <= kRuns; ++seed) {
      const Estimate estimate = run(seed);
      mean += estimate.value / kRuns;
      width += (estimate.interval.high - estimate.interval.low) / kRuns;
      covered += estimate.interval.Contains(kTruth);
      finds_nothing += estimate.interval.Contains(0);
    }
  }
  void Print(const char* name) const {
    std::printf("| %s | %+.1f %% | %.1f points | %d of %d | %d of %d |\n", name, 100 * mean,
                100 * width, covered, kRuns, finds_nothing, kRuns);
  }
};

TEST(NaiveComparisonTest, TheSwitchbackFindsAStepTimeThatAnABTestCannotSee) {
  const Summary by_units(ByUnits);
  const Summary by_switchback(BySwitchback);
  std::printf(
      "| comparison of ITL, truth +50 %% | mean estimate | mean width | interval holds the truth "
      "| interval holds 0 |\n| --- | --- | --- | --- | --- |\n");
  by_units.Print("A/B by unit, arms share steps");
  by_switchback.Print("switchback, 240 windows of 60 s");
  EXPECT_NEAR(by_units.mean, 0, 0.01) << "both arms wait for the same steps";
  EXPECT_EQ(by_units.covered, 0);
  EXPECT_GE(by_units.finds_nothing, kRuns * 88 / 100);
  EXPECT_NEAR(by_switchback.mean, kTruth, 0.02);
  EXPECT_GE(by_switchback.covered, kRuns * 90 / 100);
  EXPECT_EQ(by_switchback.finds_nothing, 0);
}

}  // namespace
}  // namespace skipstone::experiment
