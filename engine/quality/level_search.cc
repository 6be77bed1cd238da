#include "engine/quality/level_search.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace skipstone::quality {
namespace {

struct RankerName {
  Ranker ranker;
  const char* name;
};
constexpr RankerName kRankers[] = {{Ranker::kLast, "last"},
                                   {Ranker::kLastKeepFinal, "keep-final"},
                                   {Ranker::kGateNorm, "gate-norm"},
                                   {Ranker::kCosine, "cosine"},
                                   {Ranker::kBlockInfluence, "block-influence"},
                                   {Ranker::kAngular, "angular"},
                                   {Ranker::kSink, "sink"},
                                   {Ranker::kSingleKl, "single-kl"},
                                   {Ranker::kSingleNll, "single-nll"},
                                   {Ranker::kGreedyKl, "greedy-kl"},
                                   {Ranker::kGreedyNll, "greedy-nll"}};

bool ByNll(Ranker ranker) { return ranker == Ranker::kSingleNll || ranker == Ranker::kGreedyNll; }
bool IsGreedy(Ranker ranker) { return ranker == Ranker::kGreedyKl || ranker == Ranker::kGreedyNll; }

// What some options come to, and the front's entry and the option they were made of.
struct Partial {
  double saving = 0;
  double cost = 0;
  int from = 0;
  int option = 0;
};

// By falling savings and costs. At most kMostPartials, evenly taken: fronts are far smaller unless
// no two savings are alike.
constexpr size_t kMostPartials = 20000;
std::vector<Partial> FrontOf(std::vector<Partial> all) {
  std::ranges::stable_sort(all, [](const Partial& a, const Partial& b) {
    return a.saving != b.saving ? a.saving > b.saving : a.cost < b.cost;
  });
  std::vector<Partial> front;
  for (const Partial& partial : all) {
    if (front.empty() || partial.cost < front.back().cost) front.push_back(partial);
  }
  if (front.size() <= kMostPartials) return front;
  std::vector<Partial> thinned;
  const size_t step = front.size() / kMostPartials + 1;
  for (size_t i = 0; i < front.size(); i += step) thinned.push_back(front[i]);
  return thinned;
}

class LevelSearch {
 public:
  LevelSearch(Trials& trials, const SearchOptions& options, const Scores& scores)
      : trials_(trials), options_(options), scores_(scores) {}

  absl::StatusOr<std::vector<Level>> Run() {
    const std::vector<Candidate> all = AllCandidates();
    if (options_.steps > std::ssize(all)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%d sublayers are to be skipped, the model has %d of the kind",
                          options_.steps, all.size()));
    }
    if (options_.suffix || options_.ranker == Ranker::kLast ||
        options_.ranker == Ranker::kLastKeepFinal) {
      return Fixed(LatterFirst(all));
    }
    if (NeedsScores(options_.ranker)) return Fixed(ByScores(all));
    SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<Candidate> ranked, BySingle(all));
    return IsGreedy(options_.ranker) ? Greedy(ranked) : Fixed(ranked);
  }

 private:
  std::vector<Candidate> AllCandidates() const {
    std::vector<Candidate> all;
    for (int layer = 0; layer < trials_.num_layers(); ++layer) {
      if (options_.attention) all.push_back({.point = AttentionPoint(layer)});
      if (options_.mlp) all.push_back({.point = MlpPoint(layer)});
    }
    return all;
  }

  std::vector<Candidate> LatterFirst(std::vector<Candidate> all) const {
    std::ranges::reverse(all);
    // With keep-final the last one of each kind goes last.
    if (options_.ranker == Ranker::kLastKeepFinal) {
      std::ranges::stable_partition(
          all, [&](const Candidate& c) { return c.point / 2 < trials_.num_layers() - 1; });
    }
    return all;
  }

  std::vector<Candidate> ByScores(std::vector<Candidate> all) const {
    std::ranges::stable_sort(all, {}, [&](const Candidate& c) { return scores_[c.point / 2]; });
    return all;
  }

  double Of(const Cost& cost) const { return ByNll(options_.ranker) ? cost.nll : cost.kl; }

  absl::StatusOr<std::vector<Candidate>> BySingle(std::vector<Candidate> all) {
    const Level full{.skip = SkipSet(trials_.num_layers())};
    if (options_.form) {
      SKIPSTONE_RETURN_IF_ERROR(trials_.FitCandidates(full, *options_.form, std::span(all)));
    }
    SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<Cost> costs, trials_.Measure(full, all));
    std::vector<size_t> order(all.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::stable_sort(order, {}, [&](size_t i) { return Of(costs[i]); });
    std::vector<Candidate> ranked;
    for (const size_t i : order) ranked.push_back(all[i]);
    return ranked;
  }

  // In this order, maps fitted later.
  std::vector<Level> Fixed(const std::vector<Candidate>& order) const {
    std::vector<Level> chain;
    Level level{.skip = SkipSet(trials_.num_layers())};
    for (int step = 0; step < options_.steps; ++step) {
      level = With(level, {.point = order[step].point});
      chain.push_back(level);
    }
    return chain;
  }

  // `ranked`: by what each costs alone.
  absl::StatusOr<std::vector<Level>> Greedy(std::vector<Candidate> ranked) {
    std::vector<Level> chain;
    Level level{.skip = SkipSet(trials_.num_layers())};
    for (int step = 0; step < options_.steps; ++step) {
      // The first ones have been tried already.
      if (step == 0) {
        chain.push_back(level = With(level, ranked[0]));
        ranked.erase(ranked.begin());
        continue;
      }
      const size_t pool =
          options_.pool == 0 ? ranked.size() : std::min<size_t>(options_.pool, ranked.size());
      std::vector<Candidate> tried(ranked.begin(), ranked.begin() + static_cast<long>(pool));
      if (options_.form) {
        SKIPSTONE_RETURN_IF_ERROR(trials_.FitCandidates(level, *options_.form, std::span(tried)));
      }
      SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<Cost> costs, trials_.Measure(level, tried));
      const auto best = std::ranges::min_element(costs, {}, [&](const Cost& c) { return Of(c); });
      const size_t chosen = best - costs.begin();
      level = With(level, tried[chosen]);
      ranked.erase(ranked.begin() + static_cast<long>(chosen));
      if (options_.form) {
        // States above the new one have changed, so all maps are fitted anew, in order.
        SKIPSTONE_ASSIGN_OR_RETURN(level.fitted, trials_.Fit(level.skip, *options_.form));
      }
      chain.push_back(level);
    }
    return chain;
  }

  Trials& trials_;
  const SearchOptions& options_;
  const Scores& scores_;
};

}  // namespace

absl::StatusOr<Ranker> ParseRanker(std::string_view text) {
  std::vector<std::string> names;
  for (const RankerName& known : kRankers) {
    if (known.name == text) return known.ranker;
    names.push_back(known.name);
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("'%s' is not one of %s", text, absl::StrJoin(names, ", ")));
}

const char* NameOf(Ranker ranker) {
  for (const RankerName& known : kRankers) {
    if (known.ranker == ranker) return known.name;
  }
  return "";
}

bool NeedsScores(Ranker ranker) { return ranker >= Ranker::kGateNorm && ranker <= Ranker::kSink; }

absl::StatusOr<std::vector<Level>> Search(Trials& trials, const SearchOptions& options,
                                          const Scores& scores) {
  return LevelSearch(trials, options, scores).Run();
}

absl::StatusOr<std::vector<int>> Knapsack(std::span<const KnapsackItem> items, double wanted) {
  double most = 0;
  for (const KnapsackItem& item : items) {
    most += std::ranges::max(item, {}, &KnapsackOption::saving).saving;
  }
  if (most < wanted) {
    return absl::NotFoundError(
        absl::StrFormat("%g is to be saved, all that may be skipped saves %g", wanted, most));
  }
  // fronts[i]: what the first i items come to, none that costs more and saves no more than another.
  std::vector<std::vector<Partial>> fronts = {{Partial{}}};
  for (const KnapsackItem& item : items) {
    std::vector<Partial> next;
    for (int from = 0; from < std::ssize(fronts.back()); ++from) {
      const Partial& partial = fronts.back()[from];
      for (int option = 0; option < std::ssize(item); ++option) {
        next.push_back({std::min(std::max(wanted, 0.0), partial.saving + item[option].saving),
                        partial.cost + item[option].cost, from, option});
      }
    }
    fronts.push_back(FrontOf(std::move(next)));
  }
  std::vector<int> chosen(items.size());
  // The first saves most, since costs fall along a front.
  int at = 0;
  for (size_t i = items.size(); i > 0; --i) {
    chosen[i - 1] = fronts[i][at].option;
    at = fronts[i][at].from;
  }
  return chosen;
}

}  // namespace skipstone::quality
