// Which sublayers to skip: rankings and searches that make chains of nested sets, and the knapsack
// that meets a budget.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/quality/map_fit.h"
#include "engine/quality/rankers.h"
#include "engine/quality/trials.h"

namespace skipstone::quality {

enum class Ranker {
  kLast,           // the latter sublayers (Tyukin 2024)
  kLastKeepFinal,  // those before the last one
  kGateNorm,
  kCosine,
  kBlockInfluence,
  kAngular,
  kSink,
  kSingleKl,   // KL of each sublayer alone
  kSingleNll,  // rise of the NLL of each alone
  kGreedyKl,   // the next sublayer is the one whose removal leaves the least KL
  kGreedyNll,
};
// "last", "keep-final", "gate-norm", "cosine", "block-influence", "angular", "sink", "single-kl",
// "single-nll", "greedy-kl", "greedy-nll". INVALID_ARGUMENT lists them.
absl::StatusOr<Ranker> ParseRanker(std::string_view text);
const char* NameOf(Ranker ranker);
bool NeedsScores(Ranker ranker);  // of all sublayers, by the functions of rankers.h

struct SearchOptions {
  Ranker ranker = Ranker::kGreedyKl;
  bool attention = true;  // may be skipped
  bool mlp = false;
  int steps = 0;  // sublayers of the largest set
  // A greedy step tries so many, those that cost least alone; 0: all.
  int pool = 8;
  bool suffix = false;  // only the deepest kept attention may go
  // Greedy searches skip under maps of this form, fitted to each candidate (kBias, kDiagonal).
  std::optional<MapForm> form;
};

// chain[i] skips i + 1 sublayers, all of chain[i - 1] and one more. `scores` of attention sublayers
// where the ranker needs them. INVALID_ARGUMENT: more steps than sublayers that may be skipped.
absl::StatusOr<std::vector<Level>> Search(Trials& trials, const SearchOptions& options,
                                          const Scores& scores);

// What each option of one item costs and saves; option 0 is to leave it as it is (0, 0).
struct KnapsackOption {
  double cost = 0;
  double saving = 0;
};
using KnapsackItem = std::vector<KnapsackOption>;
// The option of each item with the least sum of costs whose savings reach `wanted`. Savings and
// costs are at least 0. NOT_FOUND says what all items save at the most.
absl::StatusOr<std::vector<int>> Knapsack(std::span<const KnapsackItem> items, double wanted);

}  // namespace skipstone::quality
