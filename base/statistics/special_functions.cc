#include "base/statistics/special_functions.h"

#include <cmath>
#include <limits>
#include <numbers>

namespace skipstone::statistics {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
// Of continued fractions and series: they need about sqrt(a) terms, so this serves 1e9 units.
constexpr int kMostTerms = 200'000;

// The modified Lentz method's guard (Press et al., Numerical Recipes, 5.2).
double AwayFromZero(double x) { return std::abs(x) < 1e-300 ? 1e-300 : x; }

// x^a y^b / B(a, b).
double BetaPower(double a, double b, double x, double y) {
  const double n = a + b;
  const double error = StirlingError(n) - StirlingError(a) - StirlingError(b);
  return std::sqrt(a * (b / n) / (2 * std::numbers::pi)) *
         std::exp(error - Deviance(a, n * x) - Deviance(b, n * y));
}

// I_x(a, b) where x is below about a / (a + b). The continued fraction of Didonato and Morris 1992
// (eq. 9 there): it takes x and y only where no digits cancel, unlike the better known one, which
// loses as many as a has.
double LowerBeta(double a, double b, double x, double y) {
  const double lambda = x < y ? a - (a + b) * x : (a + b) * y - b;
  const auto denominator = [&](double n) {
    return n + n * (b - n) * x / (a + 2 * n - 1) +
           (a + n) / (a + 2 * n + 1) * (lambda + 1 + n * (1 + y));
  };
  double c = AwayFromZero(a / (a + 1) * (lambda + 1));
  double d = 0;
  double fraction = c;
  for (int n = 1; n < kMostTerms; ++n) {
    const double to = a + 2 * n - 1;
    const double numerator = (a + n - 1) / to * ((a + b + n - 1) / to) * (n * (b - n) * x * x);
    d = 1 / AwayFromZero(denominator(n) + numerator * d);
    c = AwayFromZero(denominator(n) + numerator / c);
    fraction *= d * c;
    if (std::abs(d * c - 1) < kEpsilon) break;
  }
  return BetaPower(a, b, x, y) / fraction;
}

// x^a e^-x / Gamma(a).
double GammaPower(double a, double x) {
  return std::sqrt(a / (2 * std::numbers::pi)) * std::exp(-Deviance(a, x) - StirlingError(a));
}

// P(a, x): 8.7.1 of the DLMF.
double GammaSeries(double a, double x) {
  double term = 1 / a;
  double sum = term;
  for (int n = 1; n < kMostTerms && term > sum * kEpsilon / 4; ++n) {
    term *= x / (a + n);
    sum += term;
  }
  return GammaPower(a, x) * sum;
}

// Q(a, x): 8.9.2 of the DLMF, contracted.
double GammaFraction(double a, double x) {
  double b = x + 1 - a;
  double c = 1e300;
  double d = 1 / AwayFromZero(b);
  double fraction = d;
  for (int n = 1; n < kMostTerms; ++n) {
    const double numerator = -n * (n - a);
    b += 2;
    d = 1 / AwayFromZero(numerator * d + b);
    c = AwayFromZero(b + numerator / c);
    fraction *= d * c;
    if (std::abs(d * c - 1) < kEpsilon) break;
  }
  return GammaPower(a, x) * fraction;
}

}  // namespace

double Deviance(double k, double m) {
  if (k == 0) return m;
  if (std::abs(k - m) > 0.1 * (k + m)) return k * std::log(k / m) + m - k;
  // 2 k atanh(v) - (k - m) with v = (k - m) / (k + m), without the difference of near equals.
  const double v = (k - m) / (k + m);
  double sum = (k - m) * v;
  double power = 2 * k * v;
  for (int j = 3; j < 60; j += 2) {
    power *= v * v;
    const double next = sum + power / j;
    if (next == sum) break;
    sum = next;
  }
  return sum;
}

double StirlingError(double a) {
  // Where the series is not yet good to 1e-16, by Gamma(a + 1) = a Gamma(a).
  double error = 0;
  while (a < 16) {
    error += (a + 0.5) * std::log1p(1 / a) - 1;
    a += 1;
  }
  const double r = 1 / (a * a);
  // Bernoulli numbers over 2k (2k - 1): 5.11.1 of the DLMF.
  return error +
         (1.0 / 12 -
          r * (1.0 / 360 - r * (1.0 / 1260 -
                                r * (1.0 / 1680 -
                                     r * (1.0 / 1188 - r * (691.0 / 360360 - r * (1.0 / 156))))))) /
             a;
}

double RegularizedBeta(double a, double b, double x, double y) {
  if (x <= 0) return 0;
  if (y <= 0) return 1;
  if (x < (a + 1) / (a + b + 2)) return LowerBeta(a, b, x, y);
  return 1 - LowerBeta(b, a, y, x);
}

double RegularizedGammaQ(double a, double x) {
  if (x <= 0) return 1;
  return x < a + 1 ? 1 - GammaSeries(a, x) : GammaFraction(a, x);
}

}  // namespace skipstone::statistics
