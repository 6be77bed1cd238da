// Measures sets, with the maps that the backend holds for them, on text that neither choice nor fit
// has seen.
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/quality/measures.h"
#include "engine/quality/trials.h"
#include "engine/quality/window_pass.h"

namespace skipstone::quality {

// One set on one text.
struct Evaluation {
  std::vector<WindowSums> windows;

  Interval Perplexity(const BootstrapOptions& options) const;
  Interval Kl(const BootstrapOptions& options) const;         // nats per token
  Interval Agreement(const BootstrapOptions& options) const;  // top-1 with the full model
};
// One for each set, in order; the full model runs beside them.
absl::StatusOr<std::vector<Evaluation>> Evaluate(WindowPass& pass, const Windows& windows,
                                                 std::span<const SkipSet> sets,
                                                 const Progress& progress);

// A text whose last tokens are the answer.
struct Continuation {
  std::vector<int32_t> tokens;  // context and answer
  int answer = 0;               // tokens of the answer, 1 to tokens.size() - 1
};
struct ContinuationScore {
  bool greedy = true;             // each of its tokens is the likeliest
  double loglikelihood = 0;       // of the answer, nats
  double full_loglikelihood = 0;  // of the answer under the full model, nats
  int full_agrees = 0;            // tokens of the answer that are the full model's likeliest
};
// [set][item].
absl::StatusOr<std::vector<std::vector<ContinuationScore>>> Score(
    WindowPass& pass, std::span<const Continuation> items, std::span<const SkipSet> sets,
    const Progress& progress);

}  // namespace skipstone::quality
