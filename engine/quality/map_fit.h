// Fits the map that stands in for a skipped sublayer (SEMANTICS "Compensated levels") by ridge
// least squares: y = up (down n) + scale * n + bias, with n the sublayer's normed input in the
// level and y what the residual lacks there against the full model's behind the sublayer.
//
//   MapFit fit(hidden, {MapForm::Kind::kDiagonal}, 4);
//   for each window w: fit.Add(w % 4, inputs, targets);
//   fit.Solve()->scale;
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/levels/levels_file.h"
#include "engine/quality/moments.h"

namespace skipstone::quality {

struct MapForm {
  // kValue is not fitted, it is made of the weights: see value_map.h.
  enum class Kind { kBias, kDiagonal, kLowRank, kFull, kValue };
  Kind kind = Kind::kBias;
  int rank = 0;  // kLowRank: 1 to hidden

  friend bool operator==(const MapForm&, const MapForm&) = default;
};
// "bias", "diag", "rank=16", "full", "value". INVALID_ARGUMENT names the text and the forms.
absl::StatusOr<MapForm> ParseMapForm(std::string_view text, int hidden);
std::string NameOf(const MapForm& form);

struct FittedMap {
  std::vector<float> bias;   // [hidden]
  std::vector<float> scale;  // [hidden], diagonal
  std::vector<float> down;   // [rank][hidden], low rank
  std::vector<float> up;     // [hidden][rank], or [hidden][hidden] if full
  // Chosen, as a share of the mean variance of an input (diagonal: of each input's own variance).
  double ridge = 0;
  // Share of the targets' squares, about zero, that maps of the other folds explain of each fold:
  // the identity explains 0. Negative where maps do harm.
  double explained = 0;
};
// Views into `map`.
MapTensors TensorsOf(const FittedMap& map, int hidden);

// Takes samples fold by fold. Accumulates in float64 and in the order of each fold's rows, in
// blocks that neither calls nor threads divide: equal samples in equal order give equal maps to the
// bit at any number of threads and however they were spread over calls. Low rank and full hold 2 *
// hidden^2 doubles for each fold and 4 * hidden^2 more in Solve (hidden 4096, 4 folds: 1.6 GB);
// bias and diagonal hold vectors only. Not thread-safe.
class MapFit {
 public:
  // Any form but kValue; `folds` >= 2, for the choice of the ridge by cross-validation.
  MapFit(int hidden, const MapForm& form, int folds, int threads = 1);

  // [rows][hidden] each. 0 <= fold < folds; a fold may get samples many times. For low rank and
  // full a row takes 3 * hidden^2 multiplications.
  void Add(int fold, std::span<const float> inputs, std::span<const float> targets);

  // Of all samples, with the ridge of a fixed grid whose squared error on left-out folds is least
  // (of equal ones the largest). Full: ridge regression. Low rank: reduced-rank ridge regression
  // (Mukherjee and Zhu 2011), which projects the full map's outputs on their first principal
  // directions. Both solve 29 systems of hidden^2 numbers where there are 4 folds: 1.6 s of a core
  // at hidden 576, 9 s at 1024, growing with its cube. FAILED_PRECONDITION without samples in at
  // least two folds, or if one was not finite.
  absl::StatusOr<FittedMap> Solve();

 private:
  Moments SumOfFolds(int left_out) const;
  // Squared errors on each fold of maps of the others, summed over the folds, by ridge of the grid.
  std::vector<double> LeftOutErrors() const;

  MapForm form_;
  int threads_;
  std::vector<Moments> folds_;
};

}  // namespace skipstone::quality
