#include "base/statistics/switchback.h"

#include <bit>
#include <cmath>
#include <tuple>
#include <vector>

#include "tests/base/statistics/fixture.h"

namespace skipstone::statistics {
namespace {

// Arms of `blocks` blocks of `size` windows, half of each treated.
std::vector<Window> RandomDesign(Inputs& in, int blocks, int size) {
  std::vector<Window> windows;
  for (int block = 0; block < blocks; ++block) {
    int treated = size / 2;
    for (int left = size; left > 0; --left) {
      const bool is_treated = in.Whole(1, left) <= treated;
      treated -= is_treated;
      windows.push_back({.block = block, .arm = is_treated});
    }
  }
  return windows;
}

// Values that drift and depend on their neighbours, `effect` more in treated windows.
void FillIn(Inputs& in, double effect, std::vector<Window>& windows) {
  double level = 0;
  for (size_t t = 0; t < windows.size(); ++t) {
    level = 0.9 * level + in.Normal();
    Window& w = windows[t];
    w.denominator = static_cast<double>(in.Whole(5, 50));
    const double mean = 20 + 3 * std::sin(t / 15.0) + level + (w.arm == 1 ? effect : 0);
    w.numerator = w.denominator * mean;
  }
}

SwitchbackResult Estimate(const std::vector<Window>& windows, const SwitchbackOptions& options) {
  const auto result = EstimateSwitchback(windows, options);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.value_or(SwitchbackResult());
}

TEST(SwitchbackTest, TwoBlocksByHand) {
  const std::vector<Window> windows = {{0, 0, 10, 1}, {0, 1, 36, 3}, {1, 1, 14, 1}, {1, 0, 22, 2}};
  const SwitchbackResult result = Estimate(windows, {});
  EXPECT_DOUBLE_EQ(result.control, 32.0 / 3);
  EXPECT_DOUBLE_EQ(result.treatment, 50.0 / 4);
  EXPECT_DOUBLE_EQ(result.difference, 50.0 / 4 - 32.0 / 3);
  EXPECT_TRUE(result.is_exact);
  // Of the four assignments the true one and its mirror are the most extreme.
  EXPECT_DOUBLE_EQ(result.p_value, 0.5);
  EXPECT_EQ(result.interval.low, -INFINITY);  // four assignments reject nothing at 5 %
  EXPECT_EQ(result.interval.high, INFINITY);
  EXPECT_EQ(result.control_windows, 2);
  const SwitchbackResult by_window = Estimate(windows, {.weight = WindowWeight::kWindow});
  EXPECT_DOUBLE_EQ(by_window.control, (10 + 11) / 2.0);
  EXPECT_DOUBLE_EQ(by_window.treatment, (12 + 14) / 2.0);
}

TEST(SwitchbackTest, FewAssignmentsAreAllTriedOnce) {
  Inputs in(8);
  std::vector<Window> windows = RandomDesign(in, 3, 4);
  FillIn(in, 1, windows);
  const auto difference = [&](unsigned treated) {
    double numerators[2] = {}, denominators[2] = {};
    for (int t = 0; t < 12; ++t) {
      numerators[treated >> t & 1] += windows[t].numerator;
      denominators[treated >> t & 1] += windows[t].denominator;
    }
    return numerators[1] / denominators[1] - numerators[0] / denominators[0];
  };
  unsigned truth = 0;
  for (int t = 0; t < 12; ++t) truth |= windows[t].arm << t;
  int as_large = 0, all = 0;
  for (unsigned treated = 0; treated < 1u << 12; ++treated) {
    bool is_balanced = true;
    for (int block = 0; block < 3; ++block) {
      is_balanced &= std::popcount(treated >> 4 * block & 15u) == 2;
    }
    all += is_balanced;
    as_large += is_balanced && std::abs(difference(treated)) >= std::abs(difference(truth)) - 1e-9;
  }
  EXPECT_EQ(all, 216);
  const SwitchbackResult result = Estimate(windows, {});
  EXPECT_TRUE(result.is_exact);
  EXPECT_DOUBLE_EQ(result.difference, difference(truth));
  EXPECT_DOUBLE_EQ(result.p_value, as_large / 216.0);
  EXPECT_FALSE(Estimate(windows, {.draws = 215}).is_exact);
}

// The interval is worked out in closed form; here each difference is tested for itself.
TEST(SwitchbackTest, IntervalsAreThoseOfTheTestInverted) {
  Inputs in(1);
  for (const auto& [blocks, size, weight] :
       std::vector<std::tuple<int, int, WindowWeight>>{{8, 2, WindowWeight::kDenominator},
                                                       {20, 4, WindowWeight::kDenominator},
                                                       {20, 4, WindowWeight::kWindow}}) {
    std::vector<Window> windows = RandomDesign(in, blocks, size);
    FillIn(in, 2, windows);
    const SwitchbackOptions options = {.weight = weight, .alpha = 0.1, .draws = 999};
    const SwitchbackResult result = Estimate(windows, options);
    EXPECT_EQ(result.is_exact, blocks == 8);
    const auto p_value_without = [&](double difference) {
      std::vector<Window> without = windows;
      for (Window& w : without) w.numerator -= w.arm * w.denominator * difference;
      return Estimate(without, options).p_value;
    };
    const double width = result.interval.high - result.interval.low;
    ASSERT_TRUE(std::isfinite(width));
    EXPECT_GT(p_value_without(result.interval.low + 1e-6 * width), 0.1);
    EXPECT_LE(p_value_without(result.interval.low - 1e-6 * width), 0.1);
    EXPECT_GT(p_value_without(result.interval.high - 1e-6 * width), 0.1);
    EXPECT_LE(p_value_without(result.interval.high + 1e-6 * width), 0.1);
    EXPECT_NEAR(p_value_without(result.difference), 1, 1e-12);
  }
}

TEST(SwitchbackTest, FalseAlarmsAndCoverageAreThoseOfAlphaThoughWindowsDepend) {
  int alarms = 0;
  int covered = 0;
  const int runs = 500;
  Inputs in(2);
  for (int run = 0; run < runs; ++run) {
    std::vector<Window> windows = RandomDesign(in, 15, 4);
    FillIn(in, 0, windows);
    const SwitchbackOptions options = {.draws = 499, .seed = static_cast<uint64_t>(run)};
    alarms += Estimate(windows, options).p_value <= 0.05;
    for (Window& w : windows) w.numerator += w.arm * w.denominator * 1.5;
    covered += Estimate(windows, options).interval.Contains(1.5);
  }
  EXPECT_LE(alarms, 25 + 15);  // 3 deviations of 500 trials at 0.05
  EXPECT_GE(alarms, 25 - 15);  // exact, not merely careful
  EXPECT_GE(covered, 475 - 15);
}

TEST(SwitchbackTest, AnEffectIsFound) {
  Inputs in(3);
  std::vector<Window> windows = RandomDesign(in, 60, 4);
  FillIn(in, 3, windows);
  const SwitchbackResult result = Estimate(windows, {});
  EXPECT_LE(result.p_value, 0.001);
  EXPECT_TRUE(result.interval.Contains(3));
  EXPECT_GT(result.interval.low, 1);
}

TEST(SwitchbackTest, AFactorIsFoundFromLogarithms) {
  int covered = 0;
  Inputs in(9);
  for (int run = 0; run < 100; ++run) {
    std::vector<Window> windows = RandomDesign(in, 30, 4);
    FillIn(in, 0, windows);
    for (Window& w : windows) {
      w = {w.block, w.arm, std::log(w.numerator / w.denominator * (w.arm == 1 ? 1.5 : 1)), 1};
    }
    const SwitchbackResult result = Estimate(windows, {.draws = 999});
    covered += result.interval.Contains(std::log(1.5));
    EXPECT_LE(result.p_value, 0.001);
  }
  EXPECT_GE(covered, 90);
}

TEST(SwitchbackTest, EqualSeedsGiveEqualResults) {
  Inputs in(4);
  std::vector<Window> windows = RandomDesign(in, 20, 4);
  FillIn(in, 0.5, windows);
  const SwitchbackResult a = Estimate(windows, {.draws = 999, .seed = 7});
  const SwitchbackResult b = Estimate(windows, {.draws = 999, .seed = 7});
  const SwitchbackResult c = Estimate(windows, {.draws = 999, .seed = 8});
  EXPECT_FALSE(a.is_exact);
  EXPECT_EQ(a.p_value, b.p_value);
  EXPECT_EQ(a.interval.low, b.interval.low);
  EXPECT_NE(a.interval.low, c.interval.low);
  EXPECT_NEAR(a.interval.low, c.interval.low, 0.5);
}

// The first window after a change still has the arm before it in its queues.
TEST(SwitchbackTest, CarryOverIsLeftOutByItsOrder) {
  Inputs in(5);
  std::vector<Window> windows = RandomDesign(in, 400, 4);
  for (size_t t = 0; t < windows.size(); ++t) {
    const int before = t == 0 ? 0 : windows[t - 1].arm;
    windows[t].denominator = 10;
    windows[t].numerator = 10 * (5 + 2 * windows[t].arm + 1 * before + 0.1 * in.Normal());
  }
  const SwitchbackResult naive = Estimate(windows, {.draws = 99});
  const SwitchbackResult order_one = Estimate(windows, {.carry_over = 1, .draws = 99});
  EXPECT_LT(naive.difference, 2.5);  // of 3: the windows after a change hide a part
  EXPECT_NEAR(order_one.difference, 3, 0.05);
  EXPECT_LT(order_one.control_windows, naive.control_windows);
  EXPECT_NEAR(*HorvitzThompson(windows, {.carry_over = 1}), 3, 1);
}

// Over all assignments the estimate of a given world is its truth: no bias, also across blocks.
TEST(SwitchbackTest, HorvitzThompsonHasNoBiasUnderTheDesign) {
  const std::vector<std::vector<int>> orders = {{0, 0, 1, 1}, {0, 1, 0, 1}, {0, 1, 1, 0},
                                                {1, 0, 0, 1}, {1, 0, 1, 0}, {1, 1, 0, 0}};
  const std::vector<double> base = {3, 1, 4, 1, 5, 9, 2, 6};
  double sum = 0;
  for (const auto& first : orders) {
    for (const auto& second : orders) {
      std::vector<Window> windows;
      for (int t = 0; t < 8; ++t) {
        const int arm = t < 4 ? first[t] : second[t - 4];
        const int before = t == 0 ? 0 : windows[t - 1].arm;
        windows.push_back({t / 4, arm, 2 * (base[t] + 2 * arm + 0.5 * before), 2});
      }
      const auto estimate = HorvitzThompson(windows, {.carry_over = 1});
      ASSERT_TRUE(estimate.ok()) << estimate.status();
      sum += *estimate;
    }
  }
  EXPECT_NEAR(sum / 36, 2.5, 1e-12);
}

TEST(SwitchbackTest, OtherArmsKeepTheirWindowsAndBreakRuns) {
  Inputs in(6);
  std::vector<Window> windows = RandomDesign(in, 60, 4);
  FillIn(in, 3, windows);
  std::vector<Window> with_other;
  for (const Window& w : windows) {
    with_other.push_back(w);
    if (with_other.size() % 3 == 0) with_other.push_back({w.block, 2, 1e6, 1});
  }
  const SwitchbackResult alone = Estimate(windows, {});
  const SwitchbackResult among = Estimate(with_other, {});
  EXPECT_DOUBLE_EQ(among.difference, alone.difference);
  EXPECT_DOUBLE_EQ(among.p_value, alone.p_value);
  const SwitchbackResult runs = Estimate(with_other, {.carry_over = 1, .draws = 99});
  EXPECT_LT(runs.control_windows,
            Estimate(windows, {.carry_over = 1, .draws = 99}).control_windows);
  EXPECT_LT(std::abs(runs.difference), 10);
}

TEST(SwitchbackTest, WindowsWithoutTrafficDoNotCount) {
  Inputs in(7);
  std::vector<Window> windows = RandomDesign(in, 30, 4);
  FillIn(in, 1, windows);
  for (size_t t = 0; t < windows.size(); t += 5) windows[t].numerator = windows[t].denominator = 0;
  for (const WindowWeight weight : {WindowWeight::kDenominator, WindowWeight::kWindow}) {
    const SwitchbackResult result = Estimate(windows, {.weight = weight, .draws = 999});
    EXPECT_EQ(result.control_windows + result.treatment_windows, 120 - 24);
    EXPECT_NEAR(result.control, 20, 4);
    EXPECT_TRUE(result.interval.Contains(1));
  }
}

TEST(SwitchbackTest, BadInputIsRefused) {
  const std::vector<Window> good = {{0, 0, 1, 1}, {0, 1, 2, 1}, {1, 1, 3, 1}, {1, 0, 4, 1}};
  const auto code = [](const std::vector<Window>& windows, const SwitchbackOptions& options) {
    EXPECT_EQ(EstimateSwitchback(windows, options).status().code(),
              HorvitzThompson(windows, options).status().code());
    return EstimateSwitchback(windows, options).status().code();
  };
  EXPECT_EQ(code(good, {}), absl::StatusCode::kOk);
  const auto spoilt = [&](auto spoil) {
    std::vector<Window> windows = good;
    spoil(windows);
    return code(windows, {});
  };
  using Windows = std::vector<Window>;
  const auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(spoilt([](Windows& w) { w[1].numerator = NAN; }), kInvalid);
  EXPECT_EQ(spoilt([](Windows& w) { w[1].denominator = INFINITY; }), kInvalid);
  EXPECT_EQ(spoilt([](Windows& w) { w[1].denominator = -1; }), kInvalid);
  EXPECT_EQ(spoilt([](Windows& w) { w[1].denominator = 0; }), kInvalid);
  EXPECT_EQ(spoilt([](Windows& w) { w[1].block = 1, w[2].block = 0; }), kInvalid);
  EXPECT_EQ(code(good, {.alpha = 0}), kInvalid);
  EXPECT_EQ(code(good, {.alpha = NAN}), kInvalid);
  EXPECT_EQ(code(good, {.draws = 10}), kInvalid);
  EXPECT_EQ(code(good, {.carry_over = -1}), kInvalid);
  EXPECT_EQ(code(good, {.control = 1, .treatment = 1}), kInvalid);
  const auto kNoWindow = absl::StatusCode::kFailedPrecondition;
  EXPECT_EQ(code({}, {}), kNoWindow);
  EXPECT_EQ(code(good, {.treatment = 5}), kNoWindow);
  EXPECT_EQ(code(good, {.carry_over = 3}), kNoWindow);
}

}  // namespace
}  // namespace skipstone::statistics
