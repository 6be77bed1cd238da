// Ridge regression from sums over samples: the least squares behind MapFit.
#pragma once

#include <vector>

#include "engine/quality/moments.h"

namespace skipstone::quality {

// y = directions^T (coefficients x) + scale * x + bias, in float64. What it lacks is empty.
struct LinearMap {
  std::vector<double> bias;          // [hidden]
  std::vector<double> scale;         // [hidden]
  std::vector<double> coefficients;  // [rank][hidden]; without directions [hidden][hidden]
  std::vector<double> directions;    // [rank][hidden], orthonormal
};

// Squared error of the map, summed over the samples of `of` and all channels. `of` holds the
// products that such a map needs. Up to rounding of its terms, which is relative to the targets'
// squares.
double SquaredError(const LinearMap& map, const Moments& of, int threads);

// Solves for any ridge. Thread-safe once made.
class RidgeRegression {
 public:
  // Sums of at least one sample. Without products a bias is fitted, with those of the diagonal also
  // a scale, with all also a matrix, of this rank if it is not 0.
  RidgeRegression(Moments sums, int rank, int threads);

  // Least sum of squared errors + penalty * squared coefficients, bias aside. The penalty is
  // `ridge` times the inputs' mean sum of squares about their means; of a scale, times its own
  // input's. Channels that do not vary get no coefficient. ridge > 0.
  LinearMap Solve(double ridge) const;

 private:
  void SolveMatrix(double ridge, LinearMap* map) const;

  Moments sums_;  // xx, xy about the means
  int rank_;
  int threads_;
  std::vector<double> constant_;  // what of a square about the mean is rounding
};

}  // namespace skipstone::quality
