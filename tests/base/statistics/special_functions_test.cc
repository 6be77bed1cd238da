#include "base/statistics/special_functions.h"

#include <cmath>

#include "tests/base/statistics/fixture.h"

namespace skipstone::statistics {
namespace {

TEST(SpecialFunctionsTest, DevianceKeepsItsDigitsNearEquality) {
  // k ln(k / m) + m - k = d^2 / 2m - d^3 / 6m^2 + ... with d = k - m.
  EXPECT_TRUE(IsNear(Deviance(1e9 + 1, 1e9), 0.5e-9 - 1e-18 / 6, 1e-14));
  EXPECT_EQ(Deviance(7, 7), 0);
  EXPECT_EQ(Deviance(0, 3), 3);
  for (const double k : {0.5, 3.0, 20.0, 1000.0}) {
    for (const double ratio : {0.1, 0.8, 0.82, 1.0 / 0.82, 1.3, 9.0}) {
      const double m = k * ratio;
      EXPECT_TRUE(IsNear(Deviance(k, m), k * std::log(k / m) + m - k, 1e-12)) << k << " " << m;
    }
  }
}

TEST(SpecialFunctionsTest, StirlingErrorIsWhatFactorialsLeave) {
  double log_factorial = 0;
  for (int n = 1; n <= 30; ++n) {
    const double stirling = (n - 0.5) * std::log(n) - n + std::log(2 * M_PI) / 2;
    EXPECT_NEAR(StirlingError(n), log_factorial - stirling, 1e-13) << n;
    log_factorial += std::log(n);
  }
  // Gamma(1/2) = sqrt(pi).
  EXPECT_NEAR(StirlingError(0.5), std::log(M_PI) / 2 + 0.5 - std::log(2 * M_PI) / 2, 1e-15);
}

TEST(SpecialFunctionsTest, IncompleteBetaOfWholeNumbersIsABinomialTail) {
  // I_x(k, n - k + 1) = P(Binomial(n, x) >= k).
  const int n = 12;
  for (const double x : {0.001, 0.2, 0.5, 0.77, 0.999}) {
    double tail = 0;
    for (int k = n; k >= 1; --k) {
      tail += std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) +
                       k * std::log(x) + (n - k) * std::log1p(-x));
      EXPECT_TRUE(IsNear(RegularizedBeta(k, n - k + 1, x, 1 - x), tail, 1e-12)) << k << " " << x;
    }
  }
}

TEST(SpecialFunctionsTest, IncompleteBetaIsSymmetricAtAnySize) {
  Inputs in(2);
  for (int i = 0; i < 500; ++i) {
    const double a = in.Scaled(0.5, 1, -4, 30);
    const double b = in.Scaled(0.5, 1, -4, 30);
    const double middle = a / (a + b);
    const double x = std::min(middle * in.Uniform(0.9, 1.1), 1 - 1e-9);
    const double lower = RegularizedBeta(a, b, x, 1 - x);
    EXPECT_GE(lower, 0);
    EXPECT_NEAR(lower + RegularizedBeta(b, a, 1 - x, x), 1, 1e-12) << a << " " << b << " " << x;
    // The recurrence I_x(a, b) = x I_x(a - 1, b) + (1 - x) I_x(a, b - 1), 8.17.12 of the DLMF, ties
    // neighbours that other terms of the fraction made.
    const double raised =
        x * RegularizedBeta(a, b + 1, x, 1 - x) + (1 - x) * RegularizedBeta(a + 1, b, x, 1 - x);
    EXPECT_TRUE(IsNear(RegularizedBeta(a + 1, b + 1, x, 1 - x), raised, 1e-6, 1e-11));
  }
  EXPECT_EQ(RegularizedBeta(2, 3, 0, 1), 0);
  EXPECT_EQ(RegularizedBeta(2, 3, 1, 0), 1);
}

TEST(SpecialFunctionsTest, IncompleteGammaOfWholeNumbersIsAPoissonSum) {
  // Q(a, x) = P(Poisson(x) < a).
  for (const double x : {0.01, 1.0, 7.5, 40.0, 300.0}) {
    double sum = 0;
    for (int k = 0; k < 40; ++k) {
      sum += std::exp(k * std::log(x) - x - std::lgamma(k + 1));
      EXPECT_TRUE(IsNear(RegularizedGammaQ(k + 1, x), sum, 1e-12)) << k << " " << x;
    }
  }
  EXPECT_EQ(RegularizedGammaQ(3, 0), 1);
}

}  // namespace
}  // namespace skipstone::statistics
