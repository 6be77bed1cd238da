#include "engine/quality/moments.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/quality/plain_least_squares.h"

namespace skipstone::quality {
namespace {

using Products = Moments::Products;

Samples SomeSamples(int hidden, int rows) {
  return SamplesOf(RandomMatrix(hidden, hidden, 1), rows, 1, 2);
}

Moments MomentsOf(const Samples& samples, Products products, int rows_at_once, int threads) {
  Moments moments(samples.hidden, products);
  for (int i = 0; i < samples.rows(); i += rows_at_once) {
    const int count = std::min(rows_at_once, samples.rows() - i);
    moments.Add(samples.X(i, count), samples.Y(i, count), threads);
  }
  moments.Finish(threads);
  return moments;
}

void ExpectEqual(const Moments& a, const Moments& b) {
  EXPECT_EQ(a.rows, b.rows);
  EXPECT_EQ(a.x, b.x);
  EXPECT_EQ(a.y, b.y);
  EXPECT_EQ(a.yy, b.yy);
  EXPECT_EQ(a.xx, b.xx);
  EXPECT_EQ(a.xy, b.xy);
}

TEST(MomentsTest, AreTheSumsOverSamples) {
  constexpr int kHidden = 5, kRows = 7;
  const Samples samples = SomeSamples(kHidden, kRows);
  const Moments all = MomentsOf(samples, Products::kAll, kRows, 1);
  const Moments diagonal = MomentsOf(samples, Products::kDiagonal, kRows, 1);
  EXPECT_EQ(all.rows, kRows);
  for (int a = 0; a < kHidden; ++a) {
    double x = 0, y = 0, yy = 0;
    Row xx(kHidden), xy(kHidden);
    for (int i = 0; i < kRows; ++i) {
      x += samples.In(i)[a];
      y += samples.Out(i)[a];
      yy += std::pow(samples.Out(i)[a], 2);
      for (int b = 0; b < kHidden; ++b) {
        xx[b] += samples.In(i)[a] * samples.In(i)[b];
        xy[b] += samples.In(i)[a] * samples.Out(i)[b];
      }
    }
    EXPECT_NEAR(all.x[a], x, 1e-10);
    EXPECT_NEAR(all.y[a], y, 1e-10);
    EXPECT_NEAR(all.yy[a], yy, 1e-10);
    EXPECT_NEAR(diagonal.xx[a], xx[a], 1e-10);
    EXPECT_NEAR(diagonal.xy[a], xy[a], 1e-10);
    for (int b = 0; b < kHidden; ++b) {
      EXPECT_NEAR(all.xy[b * kHidden + a], xy[b], 1e-10) << a << " " << b;
      if (b > a) continue;
      EXPECT_NEAR(all.xx[b * kHidden + a], xx[b], 1e-10) << a << " " << b;
    }
  }
}

TEST(MomentsTest, HoldNoMoreThanTheirProducts) {
  const Samples samples = SomeSamples(6, 4);
  EXPECT_EQ(MomentsOf(samples, Products::kNone, 4, 1).xx.size(), 0);
  EXPECT_EQ(MomentsOf(samples, Products::kNone, 4, 1).xy.size(), 0);
  EXPECT_EQ(MomentsOf(samples, Products::kDiagonal, 4, 1).xx.size(), 6);
  EXPECT_EQ(MomentsOf(samples, Products::kAll, 4, 1).xx.size(), 36);
}

// More than one block of rows and of columns.
TEST(MomentsTest, AreEqualToTheBitHoweverCalledAndAtAnyThreads) {
  const Samples samples = SomeSamples(150, 700);
  for (const Products products : {Products::kDiagonal, Products::kAll}) {
    const Moments once = MomentsOf(samples, products, 700, 1);
    ExpectEqual(once, MomentsOf(samples, products, 700, 3));
    ExpectEqual(once, MomentsOf(samples, products, 1, 1));
    ExpectEqual(once, MomentsOf(samples, products, 64, 2));
  }
}

TEST(MomentsTest, Add) {
  const Samples samples = SomeSamples(3, 10);
  Moments sum(3, Products::kAll);
  Samples part{.hidden = 3};
  for (const auto& [first, count] : {std::pair(0, 4), std::pair(4, 6)}) {
    part.x.assign(samples.X(first, count).begin(), samples.X(first, count).end());
    part.y.assign(samples.Y(first, count).begin(), samples.Y(first, count).end());
    sum += MomentsOf(part, Products::kAll, 10, 1);
  }
  const Moments all = MomentsOf(samples, Products::kAll, 10, 1);
  EXPECT_EQ(sum.rows, 10);
  for (int i = 0; i < 9; ++i) {
    EXPECT_NEAR(sum.xx[i], all.xx[i], 1e-10);
    EXPECT_NEAR(sum.xy[i], all.xy[i], 1e-10);
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(sum.x[i], all.x[i], 1e-12);
    EXPECT_NEAR(sum.yy[i], all.yy[i], 1e-10);
  }
}

TEST(MomentsTest, KnowASampleThatIsNotFinite) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> good = {1, std::numeric_limits<float>::max()};
  for (const float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    for (const Products products : {Products::kNone, Products::kDiagonal, Products::kAll}) {
      Moments moments(2, products);
      moments.Add(good, good, 1);
      moments.Finish(1);
      EXPECT_TRUE(moments.finite());
      Moments inputs = moments, targets = moments;
      inputs.Add(std::vector<float>{bad, 1}, good, 1);
      targets.Add(good, std::vector<float>{1, bad}, 1);
      EXPECT_FALSE(inputs.finite());
      EXPECT_FALSE(targets.finite());
      inputs.Add(std::vector<float>{-bad, 1}, good, 1);
      EXPECT_FALSE(inputs.finite());
    }
  }
}

}  // namespace
}  // namespace skipstone::quality
