#include "base/statistics/distributions.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/statistics/special_functions.h"

namespace skipstone::statistics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double NormalDensity(double z) { return std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi); }

// Above it squares overflow, and tails are powers of t to the last digit.
constexpr double kFarOut = 1e100;

// t times the density of |T| there, t > 0.
double StudentSlope(double t, double degrees) {
  const double half = degrees / 2;
  // Gamma(half + 1/2) / (Gamma(half) sqrt(half)) by Stirling's formula, whose powers are left over.
  const double log_gammas =
      StirlingError(half + 0.5) - StirlingError(half) + half * std::log1p(0.5 / half) - 0.5;
  const double log_base =
      t > kFarOut ? 2 * std::log(t) - std::log(degrees) : std::log1p(t * t / degrees);
  return std::sqrt(2 / std::numbers::pi) *
         std::exp(log_gammas + std::log(t) - (half + 0.5) * log_base);
}

// P(|T| > t) and P(|T| <= t) for t >= 0: each with its own digits.
double StudentOutside(double t, double degrees) {
  if (t > kFarOut) return StudentSlope(t, degrees) / degrees;
  const double sum = degrees + t * t;
  return RegularizedBeta(degrees / 2, 0.5, degrees / sum, t * t / sum);
}
double StudentInside(double t, double degrees) {
  const double sum = degrees + t * t;
  return RegularizedBeta(0.5, degrees / 2, t * t / sum, degrees / sum);
}

}  // namespace

double NormalCdf(double z) { return std::erfc(-z / std::numbers::sqrt2) / 2; }

double NormalQuantile(double p) {
  if (!(p >= 0 && p <= 1)) return kNan;
  if (p == 0 || p == 1) return p == 0 ? -kInfinity : kInfinity;
  if (p == 0.5) return 0;
  if (p > 0.5) return -NormalQuantile(1 - p);  // exact: 1 - p has all digits of p there
  // Abramowitz and Stegun 26.2.23, good to 4.5e-4; each of Halley's steps triples the digits.
  const double t = std::sqrt(-2 * std::log(p));
  double z = (2.515517 + t * (0.802853 + t * 0.010328)) /
                 (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) -
             t;
  const double middle = p - 0.5;
  for (int i = 0; i < 3; ++i) {
    // Near 1/2 the difference to it has the digits, below it p itself.
    const double error =
        p > 0.25 ? std::erf(z / std::numbers::sqrt2) / 2 - middle : NormalCdf(z) - p;
    const double step = error / NormalDensity(z);
    z -= step / (1 + z * step / 2);
  }
  return z;
}

double StudentCdf(double t, double degrees) {
  if (!(degrees > 0) || std::isnan(t)) return kNan;
  if (std::isinf(t)) return t < 0 ? 0 : 1;
  const double outside = StudentOutside(std::abs(t), degrees) / 2;
  return t < 0 ? outside : 1 - outside;
}

double StudentQuantile(double p, double degrees) {
  if (!(degrees > 0) || !(p >= 0 && p <= 1)) return kNan;
  if (p == 0 || p == 1) return p == 0 ? -kInfinity : kInfinity;
  if (p == 0.5) return 0;
  const double sign = p < 0.5 ? -1 : 1;
  const double outside = 2 * std::min(p, 1 - p);
  const double inside = 2 * std::abs(p - 0.5);
  const bool in_tail = outside < 0.5;
  // Newton in ln t on ln P(|T| > t) (in the middle: of <=), which is concave there, since the
  // density of ln |T| is log-concave: after its first step it comes from one side.
  double u = std::log(std::max(-NormalQuantile(outside / 2), 1e-300));
  for (int i = 0; i < 100; ++i) {
    const double t = std::exp(u);
    const double mass = in_tail ? StudentOutside(t, degrees) : StudentInside(t, degrees);
    const double slope = StudentSlope(t, degrees) / mass * (in_tail ? -1 : 1);
    const double step = std::log(mass / (in_tail ? outside : inside)) / slope;
    if (!std::isfinite(step)) break;
    u -= std::clamp(step, -50.0, 50.0);
    if (std::abs(step) < 1e-15) break;
  }
  return sign * std::exp(u);
}

double ChiSquareSurvival(double x, double degrees) {
  if (!(degrees > 0) || !(x >= 0)) return kNan;
  return RegularizedGammaQ(degrees / 2, x / 2);
}

}  // namespace skipstone::statistics
