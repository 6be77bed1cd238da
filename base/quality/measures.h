// Quality of a level against the full model, from what was measured at each token or item: means,
// calibration of probabilities, paired bootstrap intervals. Knows no model and no network, so that
// calibration, sweeps and shadows count alike. All functions are pure: any thread may call.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace skipstone::quality {

// One token of text under a level, teacher-forced.
struct TokenOutcome {
  float nll = 0;         // of the text's next token, nats
  float kl = 0;          // KL(full || level) over the whole vocabulary, nats
  float confidence = 0;  // probability of the likeliest token
  bool correct = false;  // the likeliest token is the text's next
  bool agrees = false;   // the likeliest token is the full model's
};

// Tokens whose confidence lies in one of kBins equal parts of [0, 1].
struct CalibrationBin {
  int64_t tokens = 0;
  int64_t correct = 0;
  double confidence = 0;  // summed
};
inline constexpr int kBins = 15;  // Guo et al. 2017

// Sums over the tokens of one window of text: the unit that is resampled, since tokens of one
// window depend on each other.
struct WindowSums {
  int64_t tokens = 0;
  double nll = 0;
  double kl = 0;
  double brier = 0;  // sum of (confidence - correct)^2
  int64_t agrees = 0;
  std::array<CalibrationBin, kBins> bins;
};
WindowSums SumOf(std::span<const TokenOutcome> tokens);

// Mean of (confidence - correct)^2: 0 to 1; 0 without tokens.
double BrierScore(std::span<const WindowSums> windows);
// Expected calibration error (Guo et al. 2017, eq. 5): sum over the bins of their share of the
// tokens times |accuracy - mean confidence|. 0 to 1; 0 without tokens.
double ExpectedCalibrationError(std::span<const WindowSums> windows);

struct Interval {
  double value = 0;
  double low = 0;   // 2.5 %
  double high = 0;  // 97.5 %

  friend bool operator==(const Interval&, const Interval&) = default;
};

// Percentile bootstrap over pairs: units are drawn with replacement, the same for both sides. What
// is drawn depends on seed and number of units only, so equal inputs give equal intervals
// everywhere. One unit tells nothing of its spread: low and high are the value. A value that is not
// finite has no interval: all three are it.
struct BootstrapOptions {
  int resamples = 2000;  // >= 1
  uint64_t seed = 1;
};
// Mean of values[i] - base[i], for equal lengths >= 1; an empty base counts as zeros.
Interval BootstrapMean(std::span<const double> values, std::span<const double> base,
                       const BootstrapOptions& options);
// Sum of numerators / sum of denominators over units (nats per token): each unit is one pair, of a
// denominator > 0. Equal lengths >= 1.
Interval BootstrapRatio(std::span<const double> numerators, std::span<const double> denominators,
                        const BootstrapOptions& options);

// One item of multiple choice: the log-likelihood of each choice after the question, as
// lm-evaluation-harness takes it.
struct ChoiceOutcome {
  std::vector<double> loglikelihood;  // nats, of the choice's tokens; at least one
  // Of the choice's text without the blank before it: Unicode code points, which are what
  // `acc_norm` divides by (`acc_bytes` takes bytes); >= 1.
  std::vector<int> characters;
  int gold = 0;
};
// `acc`: the likeliest is gold. `acc_norm`: by log-likelihood per character. Ties to the first.
bool Correct(const ChoiceOutcome& item);
bool CorrectNormalised(const ChoiceOutcome& item);

}  // namespace skipstone::quality
