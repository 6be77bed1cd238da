#include "base/experiment/switchback.h"

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::experiment {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<Arm> kHalves = {{"control", 1}, {"treatment", 1}};

Switchback Make(const std::vector<Arm>& arms, milliseconds washout = seconds(10),
                const std::string& salt = "2026-11") {
  auto made = Switchback::Make(salt, arms, seconds(60), washout);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

Switchback::Time At(int64_t window, milliseconds offset = {}) {
  return Switchback::Time(window * seconds(60) + offset);
}

std::string Order(const Switchback& schedule, int64_t block) {
  std::string order;
  const int64_t windows = schedule.windows_of_block();
  for (int64_t w = block * windows; w < (block + 1) * windows; ++w) {
    order += static_cast<char>('a' + schedule.ArmOf(w));
  }
  return order;
}

// Made by another implementation: an analysis elsewhere can tell which arm a window had.
TEST(SwitchbackTest, OrdersHaveTestVectors) {
  const Switchback halves = Make(kHalves);
  const std::vector<std::string> expected = {"abab", "bbaa", "abba", "aabb",
                                             "baba", "bbaa", "baab", "abab"};
  for (size_t block = 0; block < expected.size(); ++block) {
    EXPECT_EQ(Order(halves, static_cast<int64_t>(block)), expected[block]) << block;
  }
  EXPECT_EQ(Order(halves, -1), "bbaa");
  EXPECT_EQ(Order(Make({{"c", 50}, {"t1", 30}, {"t2", 20}}), 7), "acabbabcaa");
}

TEST(SwitchbackTest, EveryBlockHasEachArmByItsWeight) {
  const std::vector<std::pair<std::vector<double>, std::vector<int>>> cases = {
      {{1, 1}, {2, 2}},         {{1, 1, 1}, {2, 2, 2}},    {{50, 30, 20}, {5, 3, 2}},
      {{0.99, 0.01}, {99, 1}},  {{3, 0, 1}, {3, 0, 1}},    {{1}, {2}},
      {{1e308, 1e308}, {2, 2}}, {{0.4999, 0.5001}, {2, 2}}};  // not exact in any block
  for (const auto& [weights, counts] : cases) {
    std::vector<Arm> arms;
    for (const double weight : weights) arms.push_back({absl::StrCat(arms.size()), weight});
    const Switchback schedule = Make(arms);
    const std::span<const int> made = schedule.block_counts();
    EXPECT_EQ(std::vector<int>(made.begin(), made.end()), counts);
    for (const int64_t block : {-3, -1, 0, 1, 29000000}) {
      const std::string order = Order(schedule, block);
      for (size_t arm = 0; arm < counts.size(); ++arm) {
        EXPECT_EQ(std::count(order.begin(), order.end(), 'a' + static_cast<char>(arm)), counts[arm])
            << order;
      }
    }
  }
}

// All six orders of two arms, as often as each other, and none told by the one before.
TEST(SwitchbackTest, OrdersAreUniformAndIndependent) {
  const Switchback schedule = Make(kHalves);
  constexpr int kBlocks = 36000;
  std::map<std::string, int> orders;
  std::map<std::string, int> pairs;
  std::string before = Order(schedule, 0);
  for (int block = 1; block <= kBlocks; ++block) {
    const std::string order = Order(schedule, block);
    ++orders[order];
    ++pairs[before + order];
    before = order;
  }
  ASSERT_EQ(orders.size(), 6u);
  ASSERT_EQ(pairs.size(), 36u);
  double chi_square = 0;
  for (const auto& [order, count] : orders) chi_square += (count - 6000) * (count - 6000) / 6000.0;
  EXPECT_LT(chi_square, 20.5) << "five degrees of freedom, p = 0.001";
  chi_square = 0;
  for (const auto& [pair, count] : pairs) chi_square += (count - 1000) * (count - 1000) / 1000.0;
  EXPECT_LT(chi_square, 66.6) << "35 degrees of freedom, p = 0.001";
}

TEST(SwitchbackTest, SaltsMakeOrdersOfTheirOwn) {
  const Switchback one = Make(kHalves, {}, "one");
  const Switchback two = Make(kHalves, {}, "two");
  int equal = 0;
  for (int64_t w = 0; w < 10000; ++w) equal += one.ArmOf(w) == two.ArmOf(w);
  EXPECT_NEAR(equal, 5000, 250);
}

// What replicas, a restart and a clock that jumps back rest on.
TEST(SwitchbackTest, AtIsAFunctionOfTimeAlone) {
  const Switchback schedule = Make(kHalves);
  const Switchback replica = Make(kHalves);
  std::mt19937_64 random(17);
  for (int i = 0; i < 20000; ++i) {
    // About a century to both sides of 1970, in nanoseconds.
    const Switchback::Time now(std::chrono::nanoseconds(static_cast<int64_t>(random()) / 3));
    const Switchback::Window window = schedule.At(now);
    const Switchback::Window again = replica.At(now);
    EXPECT_EQ(window.index, again.index);
    EXPECT_EQ(window.arm, again.arm);
    EXPECT_EQ(window.counted, again.counted);
    ASSERT_LE(At(window.index), now);
    ASSERT_GT(At(window.index + 1), now);
    ASSERT_LE(window.block * 4, window.index);
    ASSERT_GT((window.block + 1) * 4, window.index);
    ASSERT_EQ(window.arm, schedule.ArmOf(window.index));
    const bool changed = schedule.ArmOf(window.index - 1) != window.arm;
    ASSERT_EQ(window.counted, !changed || now - At(window.index) >= seconds(10));
  }
}

TEST(SwitchbackTest, TheWashoutEndsToTheMillisecond) {
  const Switchback schedule = Make(kHalves);
  int64_t changes = 0;
  for (int64_t w = 0; w < 100; ++w) {
    const bool changed = schedule.ArmOf(w - 1) != schedule.ArmOf(w);
    changes += changed;
    EXPECT_EQ(schedule.At(At(w)).counted, !changed) << w;
    EXPECT_EQ(schedule.At(At(w, milliseconds(9999))).counted, !changed) << w;
    EXPECT_TRUE(schedule.At(At(w, milliseconds(10000))).counted) << w;
    EXPECT_TRUE(schedule.At(At(w, milliseconds(59999))).counted) << w;
  }
  EXPECT_GT(changes, 30);
  EXPECT_TRUE(Make(kHalves, milliseconds(0)).At(At(5)).counted);
}

TEST(SwitchbackTest, Mistakes) {
  const auto error = [](const std::vector<Arm>& arms, milliseconds window, milliseconds washout) {
    const auto made = Switchback::Make("s", arms, window, washout);
    EXPECT_TRUE(absl::IsInvalidArgument(made.status()));
    return std::string(made.status().message());
  };
  EXPECT_THAT(error(kHalves, milliseconds(999), {}), HasSubstr("unit: a window of 999ms"));
  EXPECT_THAT(error(kHalves, seconds(60), seconds(60)),
              HasSubstr("washout: 1m of windows of 1m leaves nothing"));
  EXPECT_THAT(error(kHalves, seconds(60), seconds(-1)), HasSubstr("washout"));
  EXPECT_THAT(error({{"a", 1}, {"b", -1}}, seconds(60), {}), HasSubstr("arms.b.weight"));
  EXPECT_THAT(error({{"a", 1000}, {"b", 1}}, seconds(60), {}), HasSubstr("too small"));
}

}  // namespace
}  // namespace skipstone::experiment
