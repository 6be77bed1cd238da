#include "engine/quality/ridge.h"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/parallel_for.h"

namespace skipstone::quality {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using Products = Moments::Products;

constexpr int64_t kBlockColumns = 128;  // of a thread's share
// Inputs are f32: a channel whose variance is less than this share of its mean square is a
// constant.
constexpr double kConstant = 1e-12;

Eigen::Map<const MatrixXd> Columns(const std::vector<double>& values, Index rows) {
  return {values.data(), rows, static_cast<Index>(values.size()) / rows};
}
Eigen::Map<const VectorXd> Vector(const std::vector<double>& values) {
  return {values.data(), static_cast<Index>(values.size())};
}

// The `rank` first eigenvectors of the symmetric positive semidefinite `cross`^T `solved`, as
// columns, by subspace iteration from a random start (Halko, Martinsson and Tropp 2011,
// algorithm 4.4).
MatrixXd PrincipalDirections(const Eigen::Ref<const MatrixXd>& cross,
                             const Eigen::Ref<const MatrixXd>& solved, Index rank) {
  constexpr Index kSpare = 8;  // columns beyond the rank: the paper's 5 to 10
  // Steps multiply what is foreign by the ratio of eigenvalues, squares of singular values: the
  // paper's advice for slowly falling ones is 2 to 4 of these.
  constexpr int kSteps = 8;
  const Index size = cross.rows();
  const Index columns = std::min(size, rank + kSpare);
  MatrixXd basis(size, columns);
  for (Index i = 0; i < basis.size(); ++i) {
    basis.data()[i] = static_cast<double>(Mix64(static_cast<uint64_t>(i))) * 0x1p-63 - 1;
  }
  for (int step = 0; step < kSteps; ++step) {
    const MatrixXd image = cross.transpose() * (solved * basis);
    basis =
        Eigen::HouseholderQR<MatrixXd>(image).householderQ() * MatrixXd::Identity(size, columns);
  }
  const MatrixXd within = (cross * basis).transpose() * (solved * basis);
  const Eigen::SelfAdjointEigenSolver<MatrixXd> eigen((within + within.transpose()) / 2);
  return basis * eigen.eigenvectors().rowwise().reverse().leftCols(rank);
}

// What the matrix adds to the squared error of the rest of its map.
double MatrixError(const LinearMap& map, const Moments& of, int threads) {
  const Index size = of.hidden;
  const auto squares = Columns(of.xx, size), cross = Columns(of.xy, size);
  const auto weights = Columns(map.coefficients, size), directions = Columns(map.directions, size);
  const VectorXd means = weights.transpose() * Vector(of.x);
  std::vector<double> parts((weights.cols() + kBlockColumns - 1) / kBlockColumns);
  ParallelForBlocks(threads, weights.cols(), kBlockColumns, [&](int64_t first, int64_t count) {
    const MatrixXd block = weights.middleCols(first, count);
    const MatrixXd square = squares.selfadjointView<Eigen::Lower>() * block;
    MatrixXd targets = cross.middleCols(first, map.directions.empty() ? count : 0);
    VectorXd bias = Vector(map.bias);
    if (map.directions.empty()) {
      bias = VectorXd(bias.segment(first, count));
    } else {
      targets = cross * directions.middleCols(first, count);
      bias = VectorXd(directions.middleCols(first, count).transpose() * bias);
    }
    parts[first / kBlockColumns] =
        block.cwiseProduct(square - 2 * targets).sum() + 2 * bias.dot(means.segment(first, count));
  });
  return std::accumulate(parts.begin(), parts.end(), 0.0);
}

}  // namespace

double SquaredError(const LinearMap& map, const Moments& of, int threads) {
  double error = 0;
  for (int c = 0; c < of.hidden; ++c) {
    const double bias = map.bias[c];
    error += of.yy[c] - 2 * bias * of.y[c] + of.rows * bias * bias;
    if (map.scale.empty()) continue;
    error += map.scale[c] * (map.scale[c] * of.xx[c] - 2 * of.xy[c] + 2 * bias * of.x[c]);
  }
  return map.coefficients.empty() ? error : error + MatrixError(map, of, threads);
}

RidgeRegression::RidgeRegression(Moments sums, int rank, int threads)
    : sums_(std::move(sums)), rank_(rank), threads_(threads) {
  SKIPSTONE_CHECK(sums_.rows > 0);
  const Index size = sums_.hidden;
  Eigen::Map<const VectorXd> x = Vector(sums_.x), y = Vector(sums_.y);
  if (sums_.products == Products::kDiagonal) {
    Eigen::Map<VectorXd> xx(sums_.xx.data(), size), xy(sums_.xy.data(), size);
    constant_ = sums_.xx;
    xx -= x.cwiseAbs2() / sums_.rows;
    xy -= x.cwiseProduct(y) / sums_.rows;
  } else if (sums_.products == Products::kAll) {
    Eigen::Map<MatrixXd> xx(sums_.xx.data(), size, size), xy(sums_.xy.data(), size, size);
    constant_ = {xx.trace()};
    xx.selfadjointView<Eigen::Lower>().rankUpdate(x, -1 / sums_.rows);
    xy.noalias() -= x * (y / sums_.rows).transpose();
  }
  for (double& square : constant_) square *= kConstant;
}

LinearMap RidgeRegression::Solve(double ridge) const {
  SKIPSTONE_CHECK(ridge > 0 || sums_.products == Products::kNone);
  LinearMap map;
  if (sums_.products == Products::kAll) SolveMatrix(ridge, &map);
  map.bias.resize(sums_.hidden);
  Eigen::Map<VectorXd> bias(map.bias.data(), sums_.hidden);
  bias = Vector(sums_.y);
  if (sums_.products == Products::kDiagonal) {
    for (int c = 0; c < sums_.hidden; ++c) {
      const bool varies = sums_.xx[c] > constant_[c];
      map.scale.push_back(varies ? sums_.xy[c] / (sums_.xx[c] * (1 + ridge)) : 0);
    }
    bias -= Vector(map.scale).cwiseProduct(Vector(sums_.x));
  } else if (!map.coefficients.empty()) {
    const auto weights = Columns(map.coefficients, sums_.hidden);
    const VectorXd fitted = weights.transpose() * Vector(sums_.x);
    bias -=
        map.directions.empty() ? fitted : VectorXd(Columns(map.directions, sums_.hidden) * fitted);
  }
  bias /= sums_.rows;
  return map;
}

void RidgeRegression::SolveMatrix(double ridge, LinearMap* map) const {
  const Index size = sums_.hidden;
  const auto cross = Columns(sums_.xy, size);
  MatrixXd factor = Columns(sums_.xx, size);
  const double squares = factor.trace();
  MatrixXd solved = MatrixXd::Zero(size, size);
  if (squares > constant_[0]) {
    factor.diagonal().array() += ridge * squares / static_cast<double>(size);
    const Eigen::LLT<Eigen::Ref<MatrixXd>> cholesky(factor);  // in place
    // A ridge this far above rounding: the grid's least over hidden, against 2^-52.
    SKIPSTONE_CHECK(cholesky.info() == Eigen::Success);
    ParallelForBlocks(threads_, size, kBlockColumns, [&](int64_t first, int64_t count) {
      solved.middleCols(first, count) = cholesky.solve(cross.middleCols(first, count));
    });
  }
  if (rank_ == 0) {
    map->coefficients.assign(solved.data(), solved.data() + solved.size());
    return;
  }
  const MatrixXd directions = PrincipalDirections(cross, solved, rank_);
  const MatrixXd coefficients = solved * directions;
  map->coefficients.assign(coefficients.data(), coefficients.data() + coefficients.size());
  map->directions.assign(directions.data(), directions.data() + directions.size());
}

}  // namespace skipstone::quality
