// What "valid at every look" promises: 1,000 experiments without a difference, looked at 100 times
// each, raise a false alarm in no more than alpha of them; tests meant for one look raise many.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <vector>

#include "base/statistics/confidence_sequence.h"
#include "base/statistics/guardrail.h"
#include "base/statistics/sample_ratio.h"
#include "tests/base/statistics/fixture.h"

namespace skipstone::statistics {
namespace {

constexpr int kRuns = 1000;
constexpr int kLooks = 100;
constexpr int kUnits = 50;  // of each arm between looks
constexpr double kAlpha = 0.05;
// alpha of the runs and three standard deviations, sqrt(1000 * 0.05 * 0.95) = 6.9, of chance.
constexpr int kMostAlarms = 50 + 21;
// Peeking a hundred times at a test for one look finds about 0.35.
constexpr int kFewestOfPeeking = 200;

struct Look {
  bool is_sequential_alarm = false;
  bool is_peeking_alarm = false;
};

// Runs with an alarm at any look. `start(inputs)` gives what each next look says.
std::array<int, 2> CountAlarms(const std::function<std::function<Look()>(Inputs&)>& start) {
  std::array<int, 2> alarms = {};
  for (int run = 0; run < kRuns; ++run) {
    Inputs in(17, run);
    const std::function<Look()> next = start(in);
    Look any;
    for (int look = 0; look < kLooks; ++look) {
      const Look now = next();
      any.is_sequential_alarm |= now.is_sequential_alarm;
      any.is_peeking_alarm |= now.is_peeking_alarm;
    }
    alarms[0] += any.is_sequential_alarm;
    alarms[1] += any.is_peeking_alarm;
  }
  return alarms;
}

Look LookAt(const std::optional<Effect>& effect) {
  if (!effect) return {};
  return {*SequentialPValue(*effect, 0, {.alpha = kAlpha}) <= kAlpha,
          WelchPValue(*effect) <= kAlpha};
}

void ExpectOnlyPeekingAlarms(const std::array<int, 2>& alarms) {
  ::testing::Test::RecordProperty("alarms", alarms[0]);
  ::testing::Test::RecordProperty("alarms_of_peeking", alarms[1]);
  EXPECT_LE(alarms[0], kMostAlarms);
  EXPECT_GE(alarms[1], kFewestOfPeeking);
}

TEST(FalseAlarmsTest, OfMeans) {
  ExpectOnlyPeekingAlarms(CountAlarms([](Inputs& in) {
    return [&in, arms = std::array<Moments<1>, 2>()]() mutable {
      for (auto& arm : arms) {
        for (int i = 0; i < kUnits; ++i) arm.Add({10 + in.Normal()});
      }
      return LookAt(RelativeEffect(MeanEstimate(arms[0]), MeanEstimate(arms[1])));
    };
  }));
}

TEST(FalseAlarmsTest, OfProportions) {
  ExpectOnlyPeekingAlarms(CountAlarms([](Inputs& in) {
    return [&in, n = 0, successes = std::array<int64_t, 2>()]() mutable {
      n += kUnits;
      for (auto& s : successes) {
        for (int i = 0; i < kUnits; ++i) s += in.Uniform() < 0.2;
      }
      return LookAt(
          AbsoluteEffect(ProportionEstimate(n, successes[0]), ProportionEstimate(n, successes[1])));
    };
  }));
}

TEST(FalseAlarmsTest, OfRatiosOfClusteredUnits) {
  ExpectOnlyPeekingAlarms(CountAlarms([](Inputs& in) {
    return [&in, arms = std::array<Moments<2>, 2>()]() mutable {
      for (auto& arm : arms) {
        for (int i = 0; i < kUnits; ++i) {
          const double requests = in.Whole(1, 10);
          arm.Add({requests * (1 + in.Uniform()), requests});
        }
      }
      return LookAt(RelativeEffect(RatioEstimate(arms[0]), RatioEstimate(arms[1])));
    };
  }));
}

TEST(FalseAlarmsTest, OfSampleRatios) {
  const std::vector<double> weights = {0.9, 0.1};
  ExpectOnlyPeekingAlarms(CountAlarms([&](Inputs& in) {
    auto test = SampleRatioTest::Create(weights);
    return [&in, &weights, test = *test, counts = std::vector<int64_t>(2)]() mutable {
      for (int i = 0; i < 2 * kUnits; ++i) ++counts[in.Uniform() < weights[1]];
      EXPECT_TRUE(test.Look(counts).ok());
      return Look{test.p_value() <= kAlpha, *SampleRatioChiSquarePValue(counts, weights) <= kAlpha};
    };
  }));
}

// An arm that just keeps its limit is turned off in no more than alpha of experiments.
struct Kept {
  const char* name;
  GuardrailOptions options;
  double (*draw)(Inputs&);
};

class GuardrailFalseAlarmsTest : public ::testing::TestWithParam<Kept> {};

TEST_P(GuardrailFalseAlarmsTest, AreAtMostAlpha) {
  const Kept& kept = GetParam();
  const auto alarms = CountAlarms([&](Inputs& in) {
    auto guardrail = Guardrail::Create(kept.options);
    return [&in, &kept, guardrail = *guardrail]() mutable {
      for (int i = 0; i < kUnits; ++i) {
        const double denominator =
            kept.options.metric == GuardrailMetric::kRatio ? in.Whole(1, 10) : 1;
        double value = 0;
        for (int j = 0; j < denominator; ++j) value += kept.draw(in);
        EXPECT_TRUE(guardrail.Add(value, denominator).ok());
      }
      return Look{guardrail.Look() == Verdict::kBreached, false};
    };
  });
  RecordProperty("alarms", alarms[0]);
  EXPECT_LE(alarms[0], kMostAlarms);
}

double Exponential(Inputs& in) { return -std::log(1 - in.Uniform()); }

INSTANTIATE_TEST_SUITE_P(
    Metrics, GuardrailFalseAlarmsTest,
    ::testing::Values(
        Kept{"Mean", {.metric = GuardrailMetric::kMean, .limit = 1, .minimum = 200}, Exponential},
        Kept{"LowestMean",
             {.metric = GuardrailMetric::kMean, .limit = 1, .is_lower = true, .minimum = 200},
             Exponential},
        Kept{"Proportion",
             {.metric = GuardrailMetric::kProportion, .limit = 0.01, .minimum = 2},
             [](Inputs& in) { return in.Uniform() < 0.01 ? 1.0 : 0.0; }},
        Kept{"Ratio", {.metric = GuardrailMetric::kRatio, .limit = 1, .minimum = 200}, Exponential},
        Kept{"Quantile",
             {.metric = GuardrailMetric::kQuantile,
              .quantile = 0.99,
              .limit = 4.605170185988091,  // -ln 0.01
              .minimum = 2},
             Exponential}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace skipstone::statistics
