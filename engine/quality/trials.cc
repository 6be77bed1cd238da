#include "engine/quality/trials.h"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/status.h"
#include "engine/quality/map_apply.h"
#include "engine/quality/map_fit.h"

namespace skipstone::quality {
namespace {

// For the choice of the ridge; a window lies in one fold whole.
constexpr int kFolds = 4;

uint64_t HashOf(const FittedMap& map, uint64_t hash) {
  for (const auto* values : {&map.bias, &map.scale, &map.down, &map.up}) {
    hash = Fnv1a64({reinterpret_cast<const char*>(values->data()), values->size() * sizeof(float)},
                   Mix64(hash ^ values->size()));
  }
  return hash;
}

// What a result depends on, the run aside.
uint64_t KeyOf(int window, const Level& base, std::span<const Candidate> candidates) {
  uint64_t hash = Fnv1a64(absl::StrFormat("%d %s", window, base.skip.ToString()));
  for (const auto& [point, map] : base.fitted) hash = HashOf(*map, Mix64(hash ^ point));
  for (const Candidate& candidate : candidates) {
    hash = Fnv1a64(absl::StrFormat(" %d/%d", candidate.point, candidate.window), hash);
    if (candidate.map) hash = HashOf(*candidate.map, hash);
  }
  return hash;
}

Points PointsOf(std::span<const Candidate> candidates, int behind) {
  Points points;
  for (const Candidate& candidate : candidates) points.set(candidate.point + behind);
  return points;
}

std::vector<Point> SkippedPoints(const SkipSet& skip) {
  std::vector<Point> points;
  for (int layer = 0; layer < skip.num_layers(); ++layer) {
    if (!skip.KeepsAttention(layer)) points.push_back(AttentionPoint(layer));
    if (!skip.KeepsMlp(layer)) points.push_back(MlpPoint(layer));
  }
  return points;
}

std::vector<float> Difference(std::span<const float> a, std::span<const float> b) {
  std::vector<float> difference(a.size());
  for (size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return difference;
}

}  // namespace

Level With(const Level& level, const Candidate& candidate) {
  Level changed = level;
  const int layer = candidate.point / 2;
  if (candidate.window > 0) {
    changed.skip.WindowAttention(layer, candidate.window);
  } else if (candidate.point == AttentionPoint(layer)) {
    changed.skip.SkipAttention(layer);
  } else {
    changed.skip.SkipMlp(layer);
  }
  if (candidate.map) changed.fitted[candidate.point] = candidate.map;
  return changed;
}

Trials::Trials(WindowPass& pass, const Windows& windows, Journal& journal, Options options)
    : pass_(pass),
      windows_(windows),
      journal_(journal),
      options_(std::move(options)),
      full_(windows.size()) {}

absl::StatusOr<const float*> Trials::FullState(int window) {
  std::vector<float>& last = full_[window];
  if (!last.empty()) return last.data();
  Variant full{.skip = SkipSet(num_layers()), .end = 2 * num_layers()};
  full.observed.set(full.end);
  SKIPSTONE_RETURN_IF_ERROR(pass_.Run(
      windows_[window], {&full, 1},
      [&](int, Point, std::span<const float> state) { last.assign(state.begin(), state.end()); }));
  return last.data();
}

absl::StatusOr<std::vector<Cost>> Trials::Measure(const Level& base,
                                                  std::span<const Candidate> candidates) {
  std::vector<Level> levels;
  for (const Candidate& candidate : candidates) levels.push_back(With(base, candidate));
  std::vector<Cost> costs(candidates.size());
  int64_t tokens = 0;
  for (int window = 0; window < std::ssize(windows_); ++window) {
    const uint64_t key = KeyOf(window, base, candidates);
    const std::vector<double>* known = journal_.Find(key);
    std::vector<double> sums;
    if (known != nullptr) {
      sums = *known;
    } else {
      SKIPSTONE_ASSIGN_OR_RETURN(sums, MeasureWindow(window, base, candidates, levels));
      SKIPSTONE_RETURN_IF_ERROR(journal_.Add(key, sums));
    }
    for (size_t i = 0; i < costs.size(); ++i) {
      costs[i].kl += sums[2 * i];
      costs[i].nll += sums[2 * i + 1];
    }
    tokens += std::ssize(windows_[window]) - 1;
    if (options_.progress) options_.progress(window + 1, static_cast<int>(windows_.size()));
  }
  for (Cost& cost : costs) {
    cost.kl /= static_cast<double>(tokens);
    cost.nll /= static_cast<double>(tokens);
  }
  return costs;
}

// The states of the level that the candidates start from.
absl::StatusOr<std::map<Point, std::vector<float>>> Trials::StatesBelow(
    int window, const Level& base, std::span<const Candidate> candidates) {
  std::map<Point, std::vector<float>> states;
  Variant below{.skip = base.skip, .fitted = &base.fitted, .observed = PointsOf(candidates, 0)};
  for (const Candidate& candidate : candidates) below.end = std::max(below.end, candidate.point);
  // The full model passes its own last state on the way.
  if (base.skip == SkipSet(num_layers()) && full_[window].empty()) {
    below.end = 2 * num_layers();
    below.observed.set(below.end);
  }
  SKIPSTONE_RETURN_IF_ERROR(
      pass_.Run(windows_[window], {&below, 1}, [&](int, Point point, std::span<const float> state) {
        (point == 2 * num_layers() ? full_[window] : states[point])
            .assign(state.begin(), state.end());
      }));
  return states;
}

// [candidate]{kl, nll}, sums over the window's tokens.
absl::StatusOr<std::vector<double>> Trials::MeasureWindow(int window, const Level& base,
                                                          std::span<const Candidate> candidates,
                                                          std::span<const Level> levels) {
  SKIPSTONE_ASSIGN_OR_RETURN(auto states, StatesBelow(window, base, candidates));
  SKIPSTONE_ASSIGN_OR_RETURN(const float* const full, FullState(window));
  std::vector<double> sums;
  const size_t at_once = pass_.limits().variants - 1;
  for (size_t first = 0; first < candidates.size(); first += at_once) {
    const size_t count = std::min(at_once, candidates.size() - first);
    // The full model joins before the head.
    std::vector<Variant> variants = {
        {.skip = SkipSet(num_layers()), .begin = 2 * num_layers(), .input = full}};
    for (size_t i = first; i < first + count; ++i) {
      variants.push_back({.skip = levels[i].skip,
                          .fitted = &levels[i].fitted,
                          .begin = candidates[i].point,
                          .input = states[candidates[i].point].data(),
                          .reference = 0});
    }
    SKIPSTONE_RETURN_IF_ERROR(pass_.Run(windows_[window], variants));
    for (size_t i = 1; i <= count; ++i) {
      const WindowSums of = SumOf(pass_.outcomes(static_cast<int>(i)));
      sums.push_back(of.kl);
      sums.push_back(of.nll);
    }
  }
  return sums;
}

absl::StatusOr<Cost> Trials::Measure(const Level& level) {
  // What is skipped first anyway, once more: the candidate begins where the level differs.
  const std::vector<Point> skipped = SkippedPoints(level.skip);
  Candidate candidate;
  if (!skipped.empty()) {
    candidate.point = skipped[0];
    const auto map = level.fitted.find(skipped[0]);
    if (map != level.fitted.end()) candidate.map = map->second;
    SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<Cost> costs, Measure(level, {&candidate, 1}));
    return costs[0];
  }
  for (int layer = 0; layer < num_layers() && candidate.window == 0; ++layer) {
    candidate = {.point = AttentionPoint(layer), .window = level.skip.Window(layer)};
  }
  if (candidate.window == 0) return Cost{};  // the full model
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<Cost> costs, Measure(level, {&candidate, 1}));
  return costs[0];
}

absl::Status Trials::FitCandidates(const Level& base, const MapForm& form,
                                   std::span<Candidate> candidates) {
  const int hidden = pass_.shape().hidden;
  std::vector<MapFit> fits(candidates.size(), MapFit(hidden, form, kFolds, options_.threads));
  Variant level{.skip = base.skip, .fitted = &base.fitted, .observed = PointsOf(candidates, 0)};
  Variant full{.skip = SkipSet(num_layers()), .observed = PointsOf(candidates, 1)};
  for (const Candidate& candidate : candidates) {
    level.end = std::max(level.end, candidate.point);
    full.end = std::max(full.end, candidate.point + 1);
  }
  const Variant variants[] = {level, full};
  for (int window = 0; window < std::ssize(windows_); ++window) {
    std::map<Point, std::vector<float>> before, behind;
    SKIPSTONE_RETURN_IF_ERROR(pass_.Run(
        windows_[window], variants, [&](int variant, Point point, std::span<const float> state) {
          (variant == 0 ? before : behind)[point].assign(state.begin(), state.end());
        }));
    for (size_t i = 0; i < candidates.size(); ++i) {
      const Point point = candidates[i].point;
      fits[i].Add(window % kFolds, pass_.Normed(point, before[point]),
                  Difference(behind[point + 1], before[point]));
    }
  }
  for (size_t i = 0; i < candidates.size(); ++i) {
    SKIPSTONE_ASSIGN_OR_RETURN(FittedMap map, fits[i].Solve());
    candidates[i].map = std::make_shared<const FittedMap>(std::move(map));
  }
  return absl::OkStatus();
}

// Where level and full model stand, by window.
struct FitState {
  FittedMaps maps;
  std::vector<std::vector<float>> level, full;  // [rows][hidden]; empty: at the tokens
};

absl::StatusOr<FittedMaps> Trials::Fit(const SkipSet& skip, const MapForm& form) {
  FitState state;
  state.level.resize(windows_.size());
  state.full.resize(windows_.size());
  Point begin = 0;
  for (const Point point : SkippedPoints(skip)) {
    MapFit fit(pass_.shape().hidden, form, kFolds, options_.threads);
    SKIPSTONE_RETURN_IF_ERROR(FitPoint(begin, point, skip, state));
    for (int window = 0; window < std::ssize(windows_); ++window) {
      fit.Add(window % kFolds, pass_.Normed(point, state.level[window]),
              Difference(state.full[window], state.level[window]));
    }
    SKIPSTONE_ASSIGN_OR_RETURN(FittedMap map, fit.Solve());
    for (std::vector<float>& level : state.level) AddMap(map, pass_.Normed(point, level), level);
    state.maps[point] = std::make_shared<const FittedMap>(std::move(map));
    begin = point + 1;
  }
  return std::move(state.maps);
}

// Takes the level from `begin` to `point`, the full model behind the sublayer there.
absl::Status Trials::FitPoint(Point begin, Point point, const SkipSet& skip, FitState& state) {
  for (int window = 0; window < std::ssize(windows_); ++window) {
    std::vector<float> level = std::move(state.level[window]);
    std::vector<float> full = std::move(state.full[window]);
    Variant variants[] = {{.skip = skip, .begin = begin, .end = point},
                          {.skip = SkipSet(num_layers()), .begin = begin, .end = point + 1}};
    variants[0].observed.set(point);
    variants[1].observed.set(point + 1);
    if (begin > 0) variants[0].input = level.data();
    if (begin > 0) variants[1].input = full.data();
    SKIPSTONE_RETURN_IF_ERROR(
        pass_.Run(windows_[window], variants, [&](int variant, Point, std::span<const float> seen) {
          (variant == 0 ? state.level : state.full)[window].assign(seen.begin(), seen.end());
        }));
  }
  return absl::OkStatus();
}

}  // namespace skipstone::quality
