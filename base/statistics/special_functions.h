// The special functions below distributions and Bayes factors, to 1e-13 relative where the result
// is a normal number. Saddle-point forms (Loader 2000, "Fast and accurate computation of binomial
// probabilities") keep their digits at counts of 1e9, where differences of lgamma() have lost
// theirs; nor do they write the global `signgam`. All functions are pure: any thread may call.
#pragma once

namespace skipstone::statistics {

// k ln(k / m) + m - k for k >= 0, m > 0: what k events cost where m were expected; >= 0, and 0 only
// at k = m. Summed over the classes of a multinomial it is n times the Kullback-Leibler divergence.
double Deviance(double k, double m);

// ln Gamma(a) - [(a - 1/2) ln a - a + ln(2 pi) / 2] for a > 0: Stirling's error.
double StirlingError(double a);

// The regularised incomplete beta function I_x(a, b) for a, b > 0, x in [0, 1] and y = 1 - x, which
// the caller knows to more digits than 1 - x has.
double RegularizedBeta(double a, double b, double x, double y);

// The regularised upper incomplete gamma function Q(a, x) for a > 0, x >= 0.
double RegularizedGammaQ(double a, double x);

}  // namespace skipstone::statistics
