// Fits the map that stands in for a skipped sublayer (SEMANTICS "Compensated levels") by ridge
// least squares: y = up (down n) + scale * n + bias, with n the sublayer's normed input in the level
// and y what the residual lacks there against the full model's behind the sublayer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/levels/levels_file.h"

namespace skipstone::quality {

struct MapForm {
  enum class Kind { kBias, kDiagonal, kLowRank, kFull };
  Kind kind = Kind::kBias;
  int rank = 0;  // kLowRank: 1 to hidden

  friend bool operator==(const MapForm&, const MapForm&) = default;
};
// "bias", "diag", "rank=16", "full". INVALID_ARGUMENT names the text and the forms.
absl::StatusOr<MapForm> ParseMapForm(std::string_view text, int hidden);
std::string NameOf(const MapForm& form);

struct FittedMap {
  std::vector<float> bias;   // [hidden]
  std::vector<float> scale;  // [hidden], diagonal
  std::vector<float> down;   // [rank][hidden], low rank
  std::vector<float> up;     // [hidden][rank], or [hidden][hidden] if full
  double ridge = 0;          // chosen, as a share of the mean variance of an input
  double explained = 0;      // share of the targets' squares that it explains where it was not fitted
};
// Views into `map`.
MapTensors TensorsOf(const FittedMap& map, int hidden);

// Takes samples fold by fold. Accumulates in float64 and in the order of the rows, so equal samples
// give equal maps to the bit at any number of threads. Not thread-safe.
class MapFit {
 public:
  // `folds` >= 2, for the choice of the ridge by cross-validation.
  MapFit(int hidden, const MapForm& form, int folds);

  // [rows][hidden] each. 0 <= fold < folds; a fold may get samples many times.
  void Add(int fold, std::span<const float> inputs, std::span<const float> targets);

  // Of all samples, with the ridge of a fixed grid whose error on left-out folds is least.
  // FAILED_PRECONDITION without samples in at least two folds, or if one is not finite.
  absl::StatusOr<FittedMap> Solve() const;

 private:
  struct Sums;  // of one fold
  int hidden_;
  MapForm form_;
  std::vector<Sums> folds_;
};

}  // namespace skipstone::quality
