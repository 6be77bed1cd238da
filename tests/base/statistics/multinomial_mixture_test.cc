#include "base/statistics/multinomial_mixture.h"

#include <array>
#include <cmath>
#include <vector>

#include "tests/base/statistics/fixture.h"

namespace skipstone::statistics {
namespace {

// The probability of a sequence under the mixture, one trial after the other, over that under the
// null: nothing of the closed form.
double ByTrials(const std::vector<int>& trials, const std::vector<double>& p,
                double concentration) {
  std::vector<double> posterior = p;
  for (double& a : posterior) a *= concentration;
  double total = concentration;
  double log_factor = 0;
  for (const int outcome : trials) {
    log_factor += std::log(posterior[outcome] / total / p[outcome]);
    ++posterior[outcome];
    ++total;
  }
  return log_factor;
}

TEST(MultinomialMixtureTest, IsTheProductOverTrials) {
  Inputs in(1);
  for (const double concentration : {0.5, 10.0, 1e4}) {
    const std::vector<double> p = {0.1, 0.2, 0.7};
    std::vector<int> trials;
    std::vector<int64_t> counts(3);
    for (int i = 0; i < 3000; ++i) {
      trials.push_back(static_cast<int>(in.Whole(0, 2)));
      ++counts[trials.back()];
    }
    EXPECT_TRUE(IsNear(LogMixtureBayesFactor(counts, p, concentration),
                       ByTrials(trials, p, concentration), 1e-11));
  }
}

TEST(MultinomialMixtureTest, NoTrialsSayNothing) {
  EXPECT_EQ(LogMixtureBayesFactor(std::array<int64_t, 2>{}, std::array{0.01, 0.99}, 100), 0);
}

TEST(MultinomialMixtureTest, HasItsDigitsAtABillionUnits) {
  // Counts as expected: of the factor only the mixture's spread is left, -ln sqrt(1 + n / A) but
  // for terms of 1 / A. lgamma() of 1e9 alone is wrong by 1e-6.
  const std::array<int64_t, 2> counts = {500'000'000, 500'000'000};
  EXPECT_NEAR(LogMixtureBayesFactor(counts, std::array{0.5, 0.5}, 1e6), -std::log(1001.0) / 2,
              1e-6);
}

}  // namespace
}  // namespace skipstone::statistics
