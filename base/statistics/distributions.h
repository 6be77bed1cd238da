// Distribution functions and quantiles of the normal, Student's t and chi-square, to 1e-12
// relative, in the tails too. All functions are pure: any thread may call. Arguments outside what
// is stated give NaN.
#pragma once

namespace skipstone::statistics {

// P(Z <= z). For P(Z > z) take NormalCdf(-z): 1 - NormalCdf(z) has no digits in the tail.
double NormalCdf(double z);
// z with NormalCdf(z) = p, p in (0, 1); infinite at 0 and 1.
double NormalQuantile(double p);

// P(T <= t) of Student's t with `degrees` > 0 degrees of freedom, which need not be whole.
double StudentCdf(double t, double degrees);
// t with StudentCdf(t, degrees) = p, p in (0, 1); infinite at 0 and 1.
double StudentQuantile(double p, double degrees);

// P(X > x) of the chi-square with `degrees` > 0 degrees of freedom, x >= 0.
double ChiSquareSurvival(double x, double degrees);

}  // namespace skipstone::statistics
