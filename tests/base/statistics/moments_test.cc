#include "base/statistics/moments.h"

#include <vector>

#include "tests/base/statistics/fixture.h"

namespace skipstone::statistics {
namespace {

std::vector<std::array<double, 2>> Pairs(int count, double offset) {
  Inputs in(3);
  std::vector<std::array<double, 2>> pairs;
  for (int i = 0; i < count; ++i) {
    const double x = in.Normal();
    pairs.push_back({offset + x, offset + 0.5 * x + in.Normal()});
  }
  return pairs;
}

// In long double, first the means.
Moments<2> TwoPass(const std::vector<std::array<double, 2>>& pairs) {
  long double mean[2] = {};
  for (const auto& p : pairs) {
    for (int i = 0; i < 2; ++i) mean[i] += static_cast<long double>(p[i]) / pairs.size();
  }
  long double sums[3] = {};
  for (const auto& p : pairs) {
    const long double a = p[0] - mean[0];
    const long double b = p[1] - mean[1];
    sums[0] += a * a;
    sums[1] += a * b;
    sums[2] += b * b;
  }
  Moments<2> moments;
  moments.n = pairs.size();
  for (int i = 0; i < 2; ++i) moments.mean[i] = mean[i];
  for (int i = 0; i < 3; ++i) moments.comoment[i] = sums[i];
  return moments;
}

void ExpectEqual(const Moments<2>& found, const Moments<2>& expected, double relative = 1e-12) {
  EXPECT_EQ(found.n, expected.n);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(IsNear(found.mean[i], expected.mean[i], relative));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(IsNear(found.comoment[i], expected.comoment[i], relative)) << i;
  }
}

TEST(MomentsTest, RunningSumsAreThoseOfTwoPasses) {
  const auto pairs = Pairs(10'000, 3);
  Moments<2> moments;
  for (const auto& p : pairs) moments.Add(p);
  ExpectEqual(moments, TwoPass(pairs));
}

TEST(MomentsTest, MergedInAnyOrderTheyAreTheSame) {
  const auto pairs = Pairs(5'000, 3);
  const Moments<2> expected = TwoPass(pairs);
  Inputs in(4);
  for (int round = 0; round < 20; ++round) {
    std::vector<Moments<2>> parts(7);  // some may stay empty
    for (const auto& p : pairs) parts[in.Whole(0, round % 7)].Add(p);
    while (parts.size() > 1) {
      const size_t from = in.Whole(0, parts.size() - 1);
      const size_t into = (from + 1) % parts.size();
      parts[into].Merge(parts[from]);
      parts.erase(parts.begin() + from);
    }
    ExpectEqual(parts[0], expected);
  }
}

TEST(MomentsTest, ALargeMeanCostsNoDigitsOfTheVariance) {
  // Sums of squares would have none left: 1e16 against a variance of 1.
  const auto pairs = Pairs(10'000, 1e8);
  Moments<2> moments, half;
  for (size_t i = 0; i < pairs.size(); ++i) (i % 3 ? moments : half).Add(pairs[i]);
  moments.Merge(half);
  ExpectEqual(moments, TwoPass(pairs), 1e-8);
}

TEST(MomentsTest, FourValuesHaveTenCoMoments) {
  Moments<4> moments;
  moments.Add({1, 2, 3, 4});
  moments.Add({3, 2, 1, 8});
  EXPECT_EQ(moments.mean, (std::array<double, 4>{2, 2, 2, 6}));
  EXPECT_EQ(moments.Variance(0), 2);
  EXPECT_EQ(moments.Covariance(0, 2), -2);
  EXPECT_EQ(moments.Covariance(3, 2), -4);
  EXPECT_EQ(moments.Covariance(2, 3), -4);
  EXPECT_EQ(moments.Covariance(1, 3), 0);
}

TEST(MomentsTest, SaysWhetherAllIsFinite) {
  Moments<1> moments;
  EXPECT_TRUE(moments.IsFinite());
  moments.Add({1});
  EXPECT_TRUE(moments.IsFinite());
  moments.Add({INFINITY});
  EXPECT_FALSE(moments.IsFinite());
  Moments<1> other;
  other.Merge(moments);
  EXPECT_FALSE(other.IsFinite());
}

}  // namespace
}  // namespace skipstone::statistics
