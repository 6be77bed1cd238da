// Quality of a level against the full model, from what was measured at each token or item: means,
// calibration of probabilities, paired bootstrap intervals. Knows no model and no network, so that
// calibration, sweeps and shadows count alike. All functions are pure: any thread may call.
#pragma once

#include <cstdint>
#include <span>
#include <string>
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

// Sums over the tokens of one window of text: the unit that is resampled, since tokens of one
// window depend on each other.
struct WindowSums {
  int64_t tokens = 0;
  double nll = 0;
  double kl = 0;
  double brier = 0;  // sum of (confidence - correct)^2
  int64_t agrees = 0;
};
WindowSums SumOf(std::span<const TokenOutcome> tokens);

// Expected calibration error (Guo et al. 2017): sum over `bins` equal bins of confidence of the
// bin's share times |accuracy - mean confidence|. In [0, 1]; 0 without tokens.
double ExpectedCalibrationError(std::span<const TokenOutcome> tokens, int bins = 15);

struct Interval {
  double value = 0;
  double low = 0;   // 2.5 %
  double high = 0;  // 97.5 %
};

// Percentile bootstrap over pairs: units are drawn with replacement, the same for both sides.
struct BootstrapOptions {
  int resamples = 2000;
  uint64_t seed = 1;
};
// Mean of values[i] - base[i], for equal lengths >= 1; an empty base counts as zeros.
Interval BootstrapMean(std::span<const double> values, std::span<const double> base,
                       const BootstrapOptions& options);
// sum of numerators / sum of denominators over units (nats per token): each unit is one pair.
Interval BootstrapRatio(std::span<const double> numerators, std::span<const double> denominators,
                        const BootstrapOptions& options);

// One item of multiple choice: the log-likelihood of each choice after the question, as
// lm-evaluation-harness takes it.
struct ChoiceOutcome {
  std::vector<double> loglikelihood;  // nats, of the choice's tokens
  std::vector<int> bytes;             // of the choice's text
  int gold = 0;
};
// `acc`: the likeliest is gold. `acc_norm`: by log-likelihood per byte. Ties to the first.
bool Correct(const ChoiceOutcome& item);
bool CorrectNormalised(const ChoiceOutcome& item);

}  // namespace skipstone::quality
