#include "engine/quality/ridge.h"

#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/quality/plain_least_squares.h"

namespace skipstone::quality {
namespace {

using Products = Moments::Products;

constexpr int kHidden = 9;

Moments MomentsOf(const Samples& samples, Products products) {
  Moments moments(samples.hidden, products);
  moments.Add(samples.x, samples.y, 1);
  moments.Finish(1);
  return moments;
}

Samples SomeSamples(int rows = 40, double noise = 1) {
  return SamplesOf(RandomMatrix(kHidden, kHidden, 3), rows, noise, 4);
}

PlainMap PlainOf(const LinearMap& map) {
  const int hidden = static_cast<int>(map.bias.size());
  PlainMap plain{Rows(hidden, Row(hidden)), map.bias};
  for (int out = 0; out < hidden; ++out) {
    if (!map.scale.empty()) plain.matrix[out][out] = map.scale[out];
    for (int in = 0; in < hidden; ++in) {
      if (map.coefficients.empty()) continue;
      if (map.directions.empty()) plain.matrix[out][in] = map.coefficients[out * hidden + in];
      for (size_t i = 0; i < map.directions.size() / hidden; ++i) {
        plain.matrix[out][in] +=
            map.directions[i * hidden + out] * map.coefficients[i * hidden + in];
      }
    }
  }
  return plain;
}

void ExpectNear(const PlainMap& a, const PlainMap& b, double tolerance) {
  for (size_t out = 0; out < a.bias.size(); ++out) {
    EXPECT_NEAR(a.bias[out], b.bias[out], tolerance) << out;
    for (size_t in = 0; in < a.bias.size(); ++in) {
      EXPECT_NEAR(a.matrix[out][in], b.matrix[out][in], tolerance) << out << " " << in;
    }
  }
}

TEST(RidgeTest, WithoutProductsTheBiasIsTheMean) {
  const Samples samples = SomeSamples();
  const LinearMap map = RidgeRegression(MomentsOf(samples, Products::kNone), 0, 1).Solve(0);
  ExpectNear(PlainOf(map), PlainFit(samples, PlainForm::kBias, 0, 0, 0), 1e-10);
}

TEST(RidgeTest, ScaleAndMatrixSolveTheirNormalEquations) {
  const Samples samples = SomeSamples();
  const RidgeRegression diagonal(MomentsOf(samples, Products::kDiagonal), 0, 1);
  const RidgeRegression full(MomentsOf(samples, Products::kAll), 0, 1);
  for (const double ridge : {1e-4, 0.1, 10.0}) {
    ExpectNear(PlainOf(diagonal.Solve(ridge)), PlainFit(samples, PlainForm::kDiagonal, ridge, 0, 0),
               1e-9);
    ExpectNear(PlainOf(full.Solve(ridge)), PlainFit(samples, PlainForm::kFull, ridge, 0, 0), 1e-9);
  }
}

// Fewer samples than channels: the Gram matrix alone is singular.
TEST(RidgeTest, TheRidgeMakesFewSamplesSolvable) {
  const Samples samples = SomeSamples(4);
  const RidgeRegression full(MomentsOf(samples, Products::kAll), 0, 1);
  ExpectNear(PlainOf(full.Solve(1e-3)), PlainFit(samples, PlainForm::kFull, 1e-3, 0, 0), 1e-7);
}

TEST(RidgeTest, ErrorFromSumsIsTheErrorOfTheSamples) {
  const Samples samples = SomeSamples();
  const Samples others = SamplesOf(RandomMatrix(kHidden, kHidden, 5), 23, 2, 6);
  const auto expect_equal = [&](Products products, int rank) {
    const LinearMap map = RidgeRegression(MomentsOf(samples, products), rank, 1).Solve(0.01);
    const double plain = PlainError(PlainOf(map), others, 0, others.rows());
    EXPECT_NEAR(SquaredError(map, MomentsOf(others, products), 2), plain, 1e-10 * plain) << rank;
  };
  expect_equal(Products::kNone, 0);
  expect_equal(Products::kDiagonal, 0);
  expect_equal(Products::kAll, 0);
  expect_equal(Products::kAll, 1);
  expect_equal(Products::kAll, 4);
}

// The first eigenvectors by power iteration and deflation, far past convergence.
Rows FirstEigenvectors(Rows matrix, int count) {
  Rows vectors;
  for (int k = 0; k < count; ++k) {
    Row v(matrix.size(), 1);
    double norm = 0;
    for (int step = 0; step < 5000; ++step) {
      v = Times(matrix, v);
      norm = 0;
      for (const double value : v) norm += value * value;
      norm = std::sqrt(norm);
      for (double& value : v) value /= norm;
    }
    for (size_t a = 0; a < v.size(); ++a) {
      for (size_t b = 0; b < v.size(); ++b) matrix[a][b] -= norm * v[a] * v[b];
    }
    vectors.push_back(v);
  }
  return vectors;
}

// Reduced-rank ridge regression by its definition: least squares of samples to which the penalty
// was added as rows, fitted values F, and the projection on the first eigenvectors of F^T F.
TEST(RidgeTest, LowRankProjectsOnThePrincipalDirectionsOfTheFittedValues) {
  constexpr int kWide = 24, kRank = 3;
  constexpr double kRidge = 0.1;
  const Samples samples = SamplesOf(RandomMatrix(kWide, kWide, 7), 60, 1, 8);
  const PlainMap full = PlainFit(samples, PlainForm::kFull, kRidge, 0, 0);
  Row mean(kWide);
  for (int i = 0; i < samples.rows(); ++i) {
    for (int c = 0; c < kWide; ++c) mean[c] += samples.In(i)[c] / samples.rows();
  }
  Rows inputs;
  double squares = 0;
  for (int i = 0; i < samples.rows(); ++i) {
    inputs.push_back(samples.In(i));
    for (int c = 0; c < kWide; ++c) inputs[i][c] -= mean[c];
    for (const double value : inputs[i]) squares += value * value;
  }
  for (int c = 0; c < kWide; ++c) {
    inputs.emplace_back(kWide)[c] = std::sqrt(kRidge * squares / kWide);
  }
  Rows gram(kWide, Row(kWide));
  for (const Row& input : inputs) {
    const Row fitted = Times(full.matrix, input);
    for (int a = 0; a < kWide; ++a) {
      for (int b = 0; b < kWide; ++b) gram[a][b] += fitted[a] * fitted[b];
    }
  }
  PlainMap expected{Rows(kWide, Row(kWide)), Row(kWide)};
  for (const Row& v : FirstEigenvectors(gram, kRank)) {
    for (int out = 0; out < kWide; ++out) {
      for (int in = 0; in < kWide; ++in) {
        for (int c = 0; c < kWide; ++c) {
          expected.matrix[out][in] += v[out] * v[c] * full.matrix[c][in];
        }
      }
    }
  }
  // The means are met whatever the matrix.
  expected.bias = PlainFit(samples, PlainForm::kBias, 0, 0, 0).bias;
  const Row shift = Times(expected.matrix, mean);
  for (int c = 0; c < kWide; ++c) expected.bias[c] -= shift[c];

  const LinearMap map = RidgeRegression(MomentsOf(samples, Products::kAll), kRank, 1).Solve(kRidge);
  EXPECT_EQ(map.directions.size(), kRank * kWide);
  EXPECT_EQ(map.coefficients.size(), kRank * kWide);
  ExpectNear(PlainOf(map), expected, 1e-6);
}

TEST(RidgeTest, TheWholeRankIsTheFullMap) {
  const Samples samples = SomeSamples();
  const Moments moments = MomentsOf(samples, Products::kAll);
  const PlainMap full = PlainOf(RidgeRegression(moments, 0, 1).Solve(0.01));
  ExpectNear(PlainOf(RidgeRegression(moments, kHidden, 1).Solve(0.01)), full, 1e-9);
}

// A constant, be it large, tells nothing that the bias does not.
TEST(RidgeTest, ConstantInputsGetNoCoefficients) {
  Samples samples = SomeSamples();
  for (size_t i = 0; i < samples.x.size(); i += kHidden) samples.x[i] = 1234.5f;
  const LinearMap diagonal =
      RidgeRegression(MomentsOf(samples, Products::kDiagonal), 0, 1).Solve(1e-4);
  EXPECT_EQ(diagonal.scale[0], 0);
  EXPECT_NE(diagonal.scale[1], 0);
  for (size_t i = 0; i < samples.x.size(); ++i) samples.x[i] = 0.1f * (i % kHidden);
  const Moments constant = MomentsOf(samples, Products::kAll);
  for (const int rank : {0, 2}) {
    const LinearMap map = RidgeRegression(constant, rank, 1).Solve(1e-4);
    EXPECT_THAT(map.coefficients, testing::Each(0));
    ExpectNear(PlainOf(map), PlainFit(samples, PlainForm::kBias, 0, 0, 0), 1e-10);
  }
}

TEST(RidgeTest, EqualToTheBitAtAnyThreads) {
  const Samples samples = SamplesOf(RandomMatrix(150, 150, 9), 100, 1, 10);
  const Moments moments = MomentsOf(samples, Products::kAll);
  for (const int rank : {0, 140}) {
    const LinearMap one = RidgeRegression(moments, rank, 1).Solve(0.1);
    const LinearMap three = RidgeRegression(moments, rank, 3).Solve(0.1);
    EXPECT_EQ(one.coefficients, three.coefficients);
    EXPECT_EQ(one.bias, three.bias);
    EXPECT_EQ(SquaredError(one, moments, 1), SquaredError(one, moments, 3));
  }
}

}  // namespace
}  // namespace skipstone::quality
