#include "base/experiment/assignment.h"

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::experiment {
namespace {

using testing::HasSubstr;

WeightedArms Make(const std::string& salt, const std::vector<Arm>& arms) {
  auto made = WeightedArms::Make(salt, arms);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

// Made by another implementation of FNV-1a 64 and the SplitMix64 finaliser, so that an analysis in
// another language can tell who was in which arm.
TEST(AssignmentTest, UnitFractionHasTestVectors) {
  EXPECT_EQ(UnitFraction("", "", ""), 0.38870754538924934);
  EXPECT_EQ(UnitFraction("2026-11", "user-1", "control"), 0.6599115893348247);
  EXPECT_EQ(UnitFraction("2026-11", "user-1", "treatment"), 0.0663782846227684);
  EXPECT_EQ(UnitFraction("2026-11", "user-2", "control"), 0.7131794323780597);
  EXPECT_EQ(UnitFraction("2026-12", "user-1", "control"), 0.3969026140246795);
  EXPECT_EQ(UnitFraction("2026-11", "\u00fc", "control"), 0.9760219155625368);
  // The zero bytes between salt, unit and arm.
  EXPECT_EQ(UnitFraction("a", "bc", "d"), 0.8377301518707051);
  EXPECT_EQ(UnitFraction("ab", "c", "d"), 0.3062158226869872);
  EXPECT_EQ(UnitFraction("a", "b", "cd"), 0.9447110765784702);
}

// Of which the fraction is the upper part.
TEST(AssignmentTest, UnitHashHasATestVector) {
  EXPECT_EQ(UnitHash("2026-11", "user-1"), HashOf("2026-11", "user-1", ""));
  EXPECT_EQ(UnitHash("2026-11", "user-1"), 0xbc47ea7e025a64f9u);
  EXPECT_NE(UnitHash("2026-11", "user-1"), UnitHash("2026-12", "user-1"));
}

TEST(AssignmentTest, TwentyThousandUnitsSplitWithinOnePercentOfTheWeights) {
  constexpr int kUnits = 20000;
  const std::vector<Arm> arms = {{"control", 50}, {"small", 20}, {"large", 30}, {"nobody", 0}};
  const WeightedArms split = Make("2026-11", arms);
  std::vector<int> counts(arms.size());
  for (int i = 0; i < kUnits; ++i) ++counts[split.ArmOf(absl::StrCat("user-", i))];
  for (size_t arm = 0; arm < arms.size(); ++arm) {
    EXPECT_NEAR(counts[arm], kUnits * arms[arm].weight / 100, kUnits / 100) << arms[arm].name;
  }
  EXPECT_EQ(counts[3], 0);
}

// Pearson's statistic of the table of two splits of the same units.
double ChiSquare(const WeightedArms& one, const WeightedArms& two) {
  constexpr int kUnits = 20000;
  double table[3][3] = {}, rows[3] = {}, columns[3] = {};
  for (int i = 0; i < kUnits; ++i) {
    const std::string unit = absl::StrCat("user-", i);
    const size_t row = one.ArmOf(unit);
    const size_t column = two.ArmOf(unit);
    ++table[row][column];
    ++rows[row];
    ++columns[column];
  }
  double sum = 0;
  for (int row = 0; row < 3; ++row) {
    for (int column = 0; column < 3; ++column) {
      const double expected = rows[row] * columns[column] / kUnits;
      sum += (table[row][column] - expected) * (table[row][column] - expected) / expected;
    }
  }
  return sum;
}

TEST(AssignmentTest, SplitsOfTwoSaltsAreIndependent) {
  const std::vector<Arm> arms = {{"a", 1}, {"b", 1}, {"c", 2}};
  // Four degrees of freedom: above 18.47 once in a thousand pairs. Forty pairs.
  int above = 0;
  for (int i = 0; i < 40; ++i) {
    above += ChiSquare(Make(absl::StrCat("x", i), arms), Make(absl::StrCat("y", i), arms)) > 18.47;
  }
  EXPECT_LE(above, 1);
  EXPECT_GT(ChiSquare(Make("x", arms), Make("x", arms)), 30000) << "the test can fail";
}

TEST(AssignmentTest, SharesSumToOne) {
  const std::vector<Arm> arms = {{"a", 1e308}, {"b", 0}, {"c", 1e308}, {"d", 2e307}};
  EXPECT_THAT(SharesOf(arms),
              testing::Pointwise(testing::DoubleNear(1e-15), {1 / 2.2, 0.0, 1 / 2.2, 0.2 / 2.2}));
}

TEST(AssignmentTest, WeightsOfAnySizeSumToSomething) {
  const WeightedArms huge = Make("s", {{"a", 1e308}, {"b", 1e308}, {"c", 1e-308}});
  const WeightedArms one = Make("s", {{"a", 1}, {"b", 1}});
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(huge.ArmOf(absl::StrCat(i)), one.ArmOf(absl::StrCat(i))) << "and nobody is in c";
  }
  EXPECT_EQ(Make("s", {{"none", 0}, {"a", 1e-308}}).ArmOf("u"), 1u);
}

TEST(AssignmentTest, MistakesNameTheArm) {
  const auto error = [](const std::vector<Arm>& arms) {
    const auto made = WeightedArms::Make("s", arms);
    EXPECT_TRUE(absl::IsInvalidArgument(made.status()));
    return std::string(made.status().message());
  };
  EXPECT_THAT(error({}), HasSubstr("no arm has a weight above 0"));
  EXPECT_THAT(error({{"a", 0}, {"b", 0}}), HasSubstr("no arm has a weight above 0"));
  EXPECT_THAT(error({{"a", 1}, {"b", -1}}), HasSubstr("arms.b.weight: -1"));
  EXPECT_THAT(error({{"a", std::nan("")}, {"b", 1}}), HasSubstr("arms.a.weight: nan"));
  EXPECT_THAT(error({{"a", std::numeric_limits<double>::infinity()}}),
              HasSubstr("arms.a.weight: inf"));
  EXPECT_THAT(error({{"a", 1}, {"a", 1}}), HasSubstr("'a' appears twice"));
}

}  // namespace
}  // namespace skipstone::experiment
