// Ridge regression by plain loops in f64, for what Moments, RidgeRegression and MapFit are compared
// with. Matrices are rows of rows.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <utility>
#include <vector>

namespace skipstone::quality {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

inline Row Times(const Rows& matrix, const Row& x) {
  Row y(matrix.size());
  for (size_t i = 0; i < matrix.size(); ++i) {
    for (size_t j = 0; j < x.size(); ++j) y[i] += matrix[i][j] * x[j];
  }
  return y;
}

// Samples of y = matrix x + shift + noise, with x of unequal means and variances.
struct Samples {
  int hidden = 0;
  std::vector<float> x, y;  // [rows][hidden]

  int rows() const { return static_cast<int>(x.size()) / hidden; }
  std::span<const float> X(int first, int count) const {
    return std::span(x).subspan(static_cast<size_t>(first) * hidden, count * hidden);
  }
  std::span<const float> Y(int first, int count) const {
    return std::span(y).subspan(static_cast<size_t>(first) * hidden, count * hidden);
  }
  Row In(int row) const { return {x.begin() + row * hidden, x.begin() + (row + 1) * hidden}; }
  Row Out(int row) const { return {y.begin() + row * hidden, y.begin() + (row + 1) * hidden}; }
};

inline Rows RandomMatrix(int rows, int columns, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  Rows matrix(rows, Row(columns));
  for (Row& row : matrix) {
    for (double& value : row) value = normal(random);
  }
  return matrix;
}

inline Samples SamplesOf(const Rows& matrix, int rows, double noise, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  const int hidden = static_cast<int>(matrix.size());
  Samples samples{.hidden = hidden};
  for (int i = 0; i < rows; ++i) {
    Row x(hidden);
    for (int c = 0; c < hidden; ++c) x[c] = 0.5 * (c % 3) + (1 + c % 4) * normal(random);
    const Row y = Times(matrix, x);
    for (int c = 0; c < hidden; ++c) {
      samples.x.push_back(static_cast<float>(x[c]));
      samples.y.push_back(static_cast<float>(y[c] + 0.25 * c - 1 + noise * normal(random)));
    }
  }
  return samples;
}

// The solution of matrix * x = right, by elimination with pivoting.
inline Rows Eliminate(Rows matrix, Rows right) {
  const size_t size = matrix.size();
  for (size_t i = 0; i < size; ++i) {
    size_t pivot = i;
    for (size_t r = i; r < size; ++r) {
      if (std::abs(matrix[r][i]) > std::abs(matrix[pivot][i])) pivot = r;
    }
    std::swap(matrix[i], matrix[pivot]);
    std::swap(right[i], right[pivot]);
    for (size_t r = 0; r < size; ++r) {
      if (r == i) continue;
      const double factor = matrix[r][i] / matrix[i][i];
      for (size_t c = i; c < size; ++c) matrix[r][c] -= factor * matrix[i][c];
      for (size_t c = 0; c < right[r].size(); ++c) right[r][c] -= factor * right[i][c];
    }
  }
  for (size_t i = 0; i < size; ++i) {
    for (double& value : right[i]) value /= matrix[i][i];
  }
  return right;
}

// y = matrix x + bias.
struct PlainMap {
  Rows matrix;  // [out][in]
  Row bias;
};

inline double PlainError(const PlainMap& map, const Samples& samples, int first, int count) {
  double error = 0;
  for (int i = first; i < first + count; ++i) {
    const Row fitted = Times(map.matrix, samples.In(i)), y = samples.Out(i);
    for (int c = 0; c < samples.hidden; ++c) error += std::pow(y[c] - fitted[c] - map.bias[c], 2);
  }
  return error;
}

enum class PlainForm { kBias, kDiagonal, kFull };

// Of all rows but [left_out, left_out + count).
inline PlainMap PlainFit(const Samples& samples, PlainForm form, double ridge, int left_out,
                         int count) {
  const int hidden = samples.hidden;
  std::vector<int> rows;
  for (int i = 0; i < samples.rows(); ++i) {
    if (i < left_out || i >= left_out + count) rows.push_back(i);
  }
  Row x_mean(hidden), y_mean(hidden);
  for (const int i : rows) {
    for (int c = 0; c < hidden; ++c) {
      x_mean[c] += samples.In(i)[c] / static_cast<double>(rows.size());
      y_mean[c] += samples.Out(i)[c] / static_cast<double>(rows.size());
    }
  }
  Rows xx(hidden, Row(hidden)), xy(hidden, Row(hidden));
  for (const int i : rows) {
    const Row x = samples.In(i), y = samples.Out(i);
    for (int a = 0; a < hidden; ++a) {
      for (int b = 0; b < hidden; ++b) {
        xx[a][b] += (x[a] - x_mean[a]) * (x[b] - x_mean[b]);
        xy[a][b] += (x[a] - x_mean[a]) * (y[b] - y_mean[b]);
      }
    }
  }
  PlainMap map{Rows(hidden, Row(hidden)), y_mean};
  if (form == PlainForm::kDiagonal) {
    for (int c = 0; c < hidden; ++c) map.matrix[c][c] = xy[c][c] / (xx[c][c] * (1 + ridge));
  } else if (form == PlainForm::kFull) {
    double trace = 0;
    for (int c = 0; c < hidden; ++c) trace += xx[c][c];
    for (int c = 0; c < hidden; ++c) xx[c][c] += ridge * trace / hidden;
    const Rows solved = Eliminate(xx, xy);
    for (int a = 0; a < hidden; ++a) {
      for (int b = 0; b < hidden; ++b) map.matrix[b][a] = solved[a][b];
    }
  }
  const Row shift = Times(map.matrix, x_mean);
  for (int c = 0; c < hidden; ++c) map.bias[c] -= shift[c];
  return map;
}

}  // namespace skipstone::quality
