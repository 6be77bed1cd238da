#include "engine/quality/evaluate.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "base/status.h"

namespace skipstone::quality {
namespace {

// Runs the full model and all other sets over a window, so many at once as a step takes;
// take(set, outcomes of the set, outcomes of the full model), in any order of sets.
template <class Take>
absl::Status RunSets(WindowPass& pass, std::span<const int32_t> window,
                     std::span<const SkipSet> sets, Take take) {
  const SkipSet full(pass.shape().num_layers);
  std::vector<size_t> others;
  for (size_t i = 0; i < sets.size(); ++i) {
    if (!(sets[i] == full)) others.push_back(i);
  }
  const size_t at_once = pass.limits().variants - 1;
  size_t first = 0;
  do {
    const size_t count = std::min(at_once, others.size() - first);
    std::vector<Variant> variants = {{.skip = full}};
    for (size_t i = first; i < first + count; ++i) {
      variants.push_back({.skip = sets[others[i]], .reference = 0});
    }
    SKIPSTONE_RETURN_IF_ERROR(pass.Run(window, variants));
    for (size_t i = 0; i < count; ++i) {
      take(others[first + i], pass.outcomes(static_cast<int>(i) + 1), pass.outcomes(0));
    }
    first += count;
  } while (first < others.size());
  for (size_t i = 0; i < sets.size(); ++i) {
    if (sets[i] == full) take(i, pass.outcomes(0), pass.outcomes(0));
  }
  return absl::OkStatus();
}

Interval RatioOf(const std::vector<WindowSums>& windows, double (*of)(const WindowSums&),
                 const BootstrapOptions& options) {
  std::vector<double> sums, tokens;
  for (const WindowSums& window : windows) {
    sums.push_back(of(window));
    tokens.push_back(static_cast<double>(window.tokens));
  }
  return BootstrapRatio(sums, tokens, options);
}

}  // namespace

Interval Evaluation::Perplexity(const BootstrapOptions& options) const {
  const Interval nll = RatioOf(
      windows, [](const WindowSums& w) { return w.nll; }, options);
  return {std::exp(nll.value), std::exp(nll.low), std::exp(nll.high)};
}

Interval Evaluation::Kl(const BootstrapOptions& options) const {
  return RatioOf(
      windows, [](const WindowSums& w) { return w.kl; }, options);
}

Interval Evaluation::Agreement(const BootstrapOptions& options) const {
  return RatioOf(
      windows, [](const WindowSums& w) { return static_cast<double>(w.agrees); }, options);
}

absl::StatusOr<std::vector<Evaluation>> Evaluate(WindowPass& pass, const Windows& windows,
                                                 std::span<const SkipSet> sets,
                                                 const Progress& progress) {
  std::vector<Evaluation> evaluations(sets.size());
  for (size_t window = 0; window < windows.size(); ++window) {
    SKIPSTONE_RETURN_IF_ERROR(
        RunSets(pass, windows[window], sets,
                [&](size_t set, const std::vector<TokenOutcome>& outcomes, const auto&) {
                  evaluations[set].windows.push_back(SumOf(outcomes));
                }));
    if (progress) progress(static_cast<int>(window) + 1, static_cast<int>(windows.size()));
  }
  return evaluations;
}

absl::StatusOr<std::vector<std::vector<ContinuationScore>>> Score(
    WindowPass& pass, std::span<const Continuation> items, std::span<const SkipSet> sets,
    const Progress& progress) {
  std::vector<std::vector<ContinuationScore>> scores(sets.size());
  for (size_t item = 0; item < items.size(); ++item) {
    const auto take = [&](size_t set, const std::vector<TokenOutcome>& outcomes,
                          const std::vector<TokenOutcome>& full) {
      ContinuationScore& score = scores[set].emplace_back();
      for (size_t row = outcomes.size() - items[item].answer; row < outcomes.size(); ++row) {
        score.greedy = score.greedy && outcomes[row].correct;
        score.loglikelihood -= outcomes[row].nll;
        score.full_loglikelihood -= full[row].nll;
        score.full_agrees += full[row].correct ? 1 : 0;
      }
    };
    SKIPSTONE_RETURN_IF_ERROR(RunSets(pass, items[item].tokens, sets, take));
    if (progress) progress(static_cast<int>(item) + 1, static_cast<int>(items.size()));
  }
  return scores;
}

}  // namespace skipstone::quality
