#include "base/quality/measures.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/check.h"
#include "base/hash.h"

namespace skipstone::quality {
namespace {

// `statistic` of the units that each resample draws. A generator of our own: what the standard
// library's distributions draw differs between implementations.
template <class Statistic>
std::vector<double> Resample(size_t units, const BootstrapOptions& options, Statistic statistic) {
  std::vector<double> values(options.resamples);
  std::vector<size_t> drawn(units);
  uint64_t counter = Mix64(options.seed);
  for (double& value : values) {
    // The upper 32 bits times the number of units: a bias below units / 2^32.
    for (size_t& unit : drawn) unit = (Mix64(counter++) >> 32) * units >> 32;
    value = statistic(drawn);
  }
  return values;
}

template <class Statistic>
Interval Bootstrap(size_t units, const BootstrapOptions& options, Statistic statistic) {
  SKIPSTONE_CHECK(units >= 1 && options.resamples >= 1);
  std::vector<size_t> all(units);
  for (size_t i = 0; i < units; ++i) all[i] = i;
  const double value = statistic(all);
  if (units == 1 || !std::isfinite(value)) return {value, value, value};
  std::vector<double> values = Resample(units, options, statistic);
  std::sort(values.begin(), values.end());
  const size_t tail = values.size() * 25 / 1000;
  return {value, values[tail], values[values.size() - 1 - tail]};
}

bool LikeliestIsGold(const ChoiceOutcome& item, std::span<const double> scores) {
  return std::max_element(scores.begin(), scores.end()) - scores.begin() == item.gold;
}

}  // namespace

WindowSums SumOf(std::span<const TokenOutcome> tokens) {
  WindowSums sums;
  for (const TokenOutcome& token : tokens) {
    ++sums.tokens;
    sums.nll += token.nll;
    sums.kl += token.kl;
    const double miss = token.confidence - (token.correct ? 1.0 : 0.0);
    sums.brier += miss * miss;
    sums.agrees += token.agrees;
    CalibrationBin& bin =
        sums.bins[std::clamp(static_cast<int>(token.confidence * kBins), 0, kBins - 1)];
    ++bin.tokens;
    bin.correct += token.correct;
    bin.confidence += token.confidence;
  }
  return sums;
}

double BrierScore(std::span<const WindowSums> windows) {
  double sum = 0;
  int64_t tokens = 0;
  for (const WindowSums& window : windows) {
    sum += window.brier;
    tokens += window.tokens;
  }
  return tokens > 0 ? sum / static_cast<double>(tokens) : 0;
}

double ExpectedCalibrationError(std::span<const WindowSums> windows) {
  double error = 0;
  int64_t tokens = 0;
  for (int i = 0; i < kBins; ++i) {
    // A bin's share times |accuracy - mean confidence| is |correct - confidence| by all tokens.
    double surplus = 0;
    for (const WindowSums& window : windows) {
      surplus += static_cast<double>(window.bins[i].correct) - window.bins[i].confidence;
      tokens += window.bins[i].tokens;
    }
    error += std::abs(surplus);
  }
  return tokens > 0 ? error / static_cast<double>(tokens) : 0;
}

Interval BootstrapMean(std::span<const double> values, std::span<const double> base,
                       const BootstrapOptions& options) {
  SKIPSTONE_CHECK(base.empty() || base.size() == values.size());
  return Bootstrap(values.size(), options, [&](std::span<const size_t> units) {
    double sum = 0;
    for (const size_t i : units) sum += values[i] - (base.empty() ? 0 : base[i]);
    return sum / static_cast<double>(units.size());
  });
}

Interval BootstrapRatio(std::span<const double> numerators, std::span<const double> denominators,
                        const BootstrapOptions& options) {
  SKIPSTONE_CHECK(numerators.size() == denominators.size());
  return Bootstrap(numerators.size(), options, [&](std::span<const size_t> units) {
    double above = 0;
    double below = 0;
    for (const size_t i : units) {
      above += numerators[i];
      below += denominators[i];
    }
    return above / below;
  });
}

bool Correct(const ChoiceOutcome& item) { return LikeliestIsGold(item, item.loglikelihood); }

bool CorrectNormalised(const ChoiceOutcome& item) {
  SKIPSTONE_CHECK(item.characters.size() == item.loglikelihood.size());
  std::vector<double> scores = item.loglikelihood;
  for (size_t i = 0; i < scores.size(); ++i) scores[i] /= item.characters[i];
  return LikeliestIsGold(item, scores);
}

}  // namespace skipstone::quality
