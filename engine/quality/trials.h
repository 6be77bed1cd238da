// Measures candidates on calibration windows: what a further sublayer without its attention or MLP,
// or with a window, or with a map, costs. What lies below a candidate is run once for all of them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/quality/journal.h"
#include "engine/quality/window_pass.h"

namespace skipstone::quality {

using Windows = std::vector<std::vector<int32_t>>;  // token ids, of equal length >= 2

// A set and the maps that stand in for what it skips.
struct Level {
  SkipSet skip;
  FittedMaps fitted;
};

// One change to a level.
struct Candidate {
  Point point = 0;
  int window = 0;                        // tokens; 0: the sublayer is skipped
  std::shared_ptr<const FittedMap> map;  // null: the identity; only of what is skipped
};
Level With(const Level& level, const Candidate& candidate);

// Means over all tokens of the windows.
struct Cost {
  double kl = 0;   // KL(full || level), nats
  double nll = 0;  // nats
};

// Says that a unit of work of `total` is done; for a progress line.
using Progress = std::function<void(int done, int total)>;

// One thread. Equal inputs give equal results to the bit on the CPU, whatever the threads, the
// variants of a step and where a run was interrupted.
class Trials {
 public:
  struct Options {
    int threads = 1;    // of fits
    Progress progress;  // of Measure, window by window; may be null
  };
  // All outlive it. To measure, the full model is run once for each window and its last states are
  // kept: windows * (tokens - 1) * hidden floats.
  Trials(WindowPass& pass, const Windows& windows, Journal& journal, Options options);

  // Of the level with each of the candidates, in their order.
  absl::StatusOr<std::vector<Cost>> Measure(const Level& base,
                                            std::span<const Candidate> candidates);
  absl::StatusOr<Cost> Measure(const Level& level);

  // A map of this form for each candidate, fitted to the states of `base` at its point: y is what
  // the full model has behind the sublayer, less the state of `base` before it. kBias or kDiagonal.
  absl::Status FitCandidates(const Level& base, const MapForm& form,
                             std::span<Candidate> candidates);
  // Maps of all sublayers that the set skips, fitted from the first to the last on the states that
  // the level itself produces. Keeps 2 * windows * (tokens - 1) * hidden floats.
  absl::StatusOr<FittedMaps> Fit(const SkipSet& skip, const MapForm& form);

  int num_layers() const { return pass_.shape().num_layers; }

 private:
  // The full model's last state of the window.
  absl::StatusOr<const float*> FullState(int window);
  absl::StatusOr<std::map<Point, std::vector<float>>> StatesBelow(
      int window, const Level& base, std::span<const Candidate> candidates);
  absl::StatusOr<std::vector<double>> MeasureWindow(int window, const Level& base,
                                                    std::span<const Candidate> candidates,
                                                    std::span<const Level> levels);
  absl::Status FitPoint(Point begin, Point point, const SkipSet& skip, struct FitState& state);

  WindowPass& pass_;
  const Windows& windows_;
  Journal& journal_;
  const Options options_;
  std::vector<std::vector<float>> full_;  // by window; empty: not run yet
};

}  // namespace skipstone::quality
