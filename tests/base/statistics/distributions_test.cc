#include "base/statistics/distributions.h"

#include <cmath>
#include <limits>

#include "tests/base/statistics/fixture.h"

namespace skipstone::statistics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(DistributionsTest, AreThoseOfScipyInTheTailsToo) {
  const Fixture fixture = ReadFixture("distributions", 5);
  for (size_t i = 0; i < fixture.rows.size(); ++i) {
    const auto& expected = fixture.rows[i];
    Inputs in(fixture.seed, i);
    const double z = in.Uniform(-37, 8);
    EXPECT_TRUE(IsNear(NormalCdf(z), expected[0], 1e-12)) << z;
    const double p = in.Scaled(0.5, 1, -900, 0);
    EXPECT_TRUE(IsNear(NormalQuantile(p), expected[1], 1e-12)) << p;
    const double degrees = in.Scaled(0.5, 4, 0, 22);
    const double t = in.Uniform(-30, 6);
    EXPECT_TRUE(IsNear(StudentCdf(t, degrees), expected[2], 1e-12)) << t << " " << degrees;
    const double q = in.Scaled(0.5, 1, -60, 0);
    EXPECT_TRUE(IsNear(StudentQuantile(q, degrees), expected[3], 1e-12)) << q << " " << degrees;
    const int64_t classes = in.Whole(1, 30);
    const double x = classes * in.Scaled(0.01, 2, 0, 4);
    EXPECT_TRUE(IsNear(ChiSquareSurvival(x, classes), expected[4], 1e-12)) << x << " " << classes;
  }
}

TEST(DistributionsTest, QuantilesUndoTheirCdf) {
  Inputs in(1);
  for (int i = 0; i < 2000; ++i) {
    const double p = in.Uniform();
    EXPECT_TRUE(IsNear(NormalCdf(NormalQuantile(p)), p, 1e-13)) << p;
    const double degrees = in.Scaled(0.5, 1, 0, 40);
    EXPECT_TRUE(IsNear(StudentCdf(StudentQuantile(p, degrees), degrees), p, 1e-12))
        << p << " " << degrees;
  }
}

TEST(DistributionsTest, NearOneHalfQuantilesKeepTheirDigits) {
  // To first order: (p - 1/2) / density(0).
  EXPECT_TRUE(IsNear(NormalQuantile(0.5 + 1e-9), 1e-9 * std::sqrt(2 * M_PI), 1e-6));
  EXPECT_EQ(NormalQuantile(0.5), 0);
  EXPECT_EQ(StudentQuantile(0.5, 3), 0);
  EXPECT_TRUE(IsNear(StudentQuantile(0.5 + 0x1p-40, 1), std::tan(M_PI * 0x1p-40), 1e-12));
}

TEST(DistributionsTest, StudentIsCauchyAtOneAndNormalAtManyDegrees) {
  for (const double t : {-1e6, -30.0, -1.0, -0.01, 0.0, 0.5, 3.0}) {
    EXPECT_TRUE(IsNear(StudentCdf(t, 1), std::atan2(1, -t) / M_PI, 1e-14)) << t;
  }
  for (const double z : {-9.0, -3.0, -0.1, 0.0, 1.0}) {
    EXPECT_TRUE(IsNear(StudentCdf(z, 1e15), NormalCdf(z), 1e-11)) << z;
  }
  EXPECT_TRUE(IsNear(StudentQuantile(1e-300, 1), -1 / (M_PI * 1e-300), 1e-12));
  EXPECT_TRUE(IsNear(StudentCdf(-1e200, 1), 1e-200 / M_PI, 1e-12));
}

TEST(DistributionsTest, EndsAndWhatIsOutside) {
  EXPECT_EQ(NormalQuantile(0), -kInfinity);
  EXPECT_EQ(NormalQuantile(1), kInfinity);
  EXPECT_EQ(StudentQuantile(0, 2), -kInfinity);
  EXPECT_EQ(StudentQuantile(1, 2), kInfinity);
  EXPECT_EQ(StudentCdf(-kInfinity, 2), 0);
  EXPECT_EQ(StudentCdf(kInfinity, 2), 1);
  EXPECT_EQ(ChiSquareSurvival(0, 3), 1);
  EXPECT_TRUE(std::isnan(NormalQuantile(-0.1)));
  EXPECT_TRUE(std::isnan(NormalQuantile(NAN)));
  EXPECT_TRUE(std::isnan(StudentCdf(1, 0)));
  EXPECT_TRUE(std::isnan(StudentCdf(NAN, 1)));
  EXPECT_TRUE(std::isnan(StudentQuantile(0.5, NAN)));
  EXPECT_TRUE(std::isnan(ChiSquareSurvival(-1, 2)));
}

}  // namespace
}  // namespace skipstone::statistics
