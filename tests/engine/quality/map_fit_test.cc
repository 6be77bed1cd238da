#include "engine/quality/map_fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/quality/plain_least_squares.h"

namespace skipstone::quality {
namespace {

using testing::HasSubstr;
using Kind = MapForm::Kind;

constexpr int kHidden = 6;
constexpr int kFolds = 4;
const MapForm kAllForms[] = {{Kind::kBias}, {Kind::kDiagonal}, {Kind::kLowRank, 2}, {Kind::kFull}};

// Fold f has the f-th part of the rows, in calls of so many.
FittedMap Fit(const Samples& samples, const MapForm& form, int rows_at_once = 1000,
              int threads = 1) {
  MapFit fit(samples.hidden, form, kFolds, threads);
  const int rows = samples.rows() / kFolds;
  for (int fold = 0; fold < kFolds; ++fold) {
    for (int i = 0; i < rows; i += rows_at_once) {
      const int count = std::min(rows_at_once, rows - i);
      fit.Add(fold, samples.X(fold * rows + i, count), samples.Y(fold * rows + i, count));
    }
  }
  return fit.Solve().value();
}

PlainMap PlainOf(const FittedMap& map) {
  const int hidden = static_cast<int>(map.bias.size());
  PlainMap plain{Rows(hidden, Row(hidden)), {map.bias.begin(), map.bias.end()}};
  const size_t rank = map.down.size() / hidden;
  for (int out = 0; out < hidden; ++out) {
    if (!map.scale.empty()) plain.matrix[out][out] = map.scale[out];
    for (int in = 0; in < hidden; ++in) {
      if (map.down.empty() && !map.up.empty()) plain.matrix[out][in] = map.up[out * hidden + in];
      for (size_t i = 0; i < rank; ++i) {
        plain.matrix[out][in] += double{map.up[out * rank + i]} * map.down[i * hidden + in];
      }
    }
  }
  return plain;
}

double Squares(const Samples& samples) {
  double sum = 0;
  for (const float y : samples.y) sum += double{y} * y;
  return sum;
}

TEST(MapFitTest, FormsHaveNames) {
  for (const std::string name : {"bias", "diag", "rank=1", "rank=64", "full"}) {
    const auto form = ParseMapForm(name, 64);
    ASSERT_TRUE(form.ok()) << form.status();
    EXPECT_EQ(NameOf(*form), name);
  }
  EXPECT_EQ(*ParseMapForm("rank=16", 64), (MapForm{Kind::kLowRank, 16}));
  EXPECT_EQ(*ParseMapForm("full", 64), MapForm{Kind::kFull});
  EXPECT_EQ(*ParseMapForm("value", 64), MapForm{Kind::kValue});
}

TEST(MapFitTest, OtherFormsAreRefusedByName) {
  for (const std::string text : {"", "Bias", "rank", "rank=", "rank=0", "rank=65", "rank=-1",
                                 "rank=1x", "rank=99999999999", "diag ", "low"}) {
    const absl::Status status = ParseMapForm(text, 64).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("'" + text + "'"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("bias, diag, full, value, or rank=R"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("1 to 64"));
  }
}

// Ridge and left-out errors by fits of samples, each fold left out in turn.
TEST(MapFitTest, CrossValidationIsThatOfFitsToSamples) {
  constexpr int kRows = 15;
  constexpr double kGrid[] = {1e-4, 1e-3, 0.01, 0.1, 1, 10, 100};
  const struct {
    MapForm form;
    PlainForm plain;
  } cases[] = {{{Kind::kBias}, PlainForm::kBias},
               {{Kind::kDiagonal}, PlainForm::kDiagonal},
               {{Kind::kFull}, PlainForm::kFull}};
  for (const double noise : {0.1, 10.0}) {
    const Samples samples = SamplesOf(RandomMatrix(kHidden, kHidden, 1), kFolds * kRows, noise, 2);
    for (const auto& [form, plain] : cases) {
      double best = std::numeric_limits<double>::infinity(), ridge = 0;
      for (const double candidate : kGrid) {
        double error = 0;
        for (int fold = 0; fold < kFolds; ++fold) {
          error += PlainError(PlainFit(samples, plain, candidate, fold * kRows, kRows), samples,
                              fold * kRows, kRows);
        }
        if (error < best) {
          best = error;
          ridge = candidate;
        }
      }
      const FittedMap map = Fit(samples, form);
      EXPECT_EQ(map.ridge, form.kind == Kind::kBias ? 0 : ridge) << NameOf(form) << " " << noise;
      EXPECT_NEAR(map.explained, 1 - best / Squares(samples), 1e-9) << NameOf(form);
      const PlainMap expected = PlainFit(samples, plain, ridge, 0, 0), fitted = PlainOf(map);
      for (int out = 0; out < kHidden; ++out) {
        EXPECT_NEAR(fitted.bias[out], expected.bias[out], 1e-5);
        for (int in = 0; in < kHidden; ++in) {
          EXPECT_NEAR(fitted.matrix[out][in], expected.matrix[out][in], 1e-5);
        }
      }
    }
  }
}

TEST(MapFitTest, FindsTheMapThatMadeTheData) {
  constexpr int kRank = 2;
  const Rows full = RandomMatrix(kHidden, kHidden, 3);
  Rows diagonal(kHidden, Row(kHidden)), low(kHidden, Row(kHidden));
  const Rows up = RandomMatrix(kHidden, kRank, 4), down = RandomMatrix(kRank, kHidden, 5);
  for (int out = 0; out < kHidden; ++out) {
    diagonal[out][out] = full[out][out];
    for (int in = 0; in < kHidden; ++in) {
      for (int i = 0; i < kRank; ++i) low[out][in] += up[out][i] * down[i][in];
    }
  }
  const struct {
    MapForm form;
    const Rows& matrix;
  } cases[] = {{{Kind::kBias}, Rows(kHidden, Row(kHidden))},
               {{Kind::kDiagonal}, diagonal},
               {{Kind::kLowRank, kRank}, low},
               {{Kind::kFull}, full}};
  for (const auto& [form, matrix] : cases) {
    const FittedMap map = Fit(SamplesOf(matrix, 400, 0, 6), form);
    EXPECT_GT(map.explained, 1 - 1e-6) << NameOf(form);
    EXPECT_LE(map.ridge, 1e-4);
    const PlainMap fitted = PlainOf(map);
    for (int out = 0; out < kHidden; ++out) {
      EXPECT_NEAR(fitted.bias[out], 0.25 * out - 1, 0.01) << NameOf(form);
      for (int in = 0; in < kHidden; ++in) {
        // The least ridge shrinks the coefficients of the narrowest input by a thousandth.
        EXPECT_NEAR(fitted.matrix[out][in], matrix[out][in], 2e-3 * (1 + std::abs(matrix[out][in])))
            << NameOf(form);
      }
    }
  }
}

TEST(MapFitTest, MapsHaveTheTensorsOfTheirForm) {
  const Samples samples = SamplesOf(RandomMatrix(kHidden, kHidden, 1), 40, 1, 2);
  const auto shape = [](const Tensor& tensor) {
    return tensor.data == nullptr ? std::pair<int64_t, int64_t>()
                                  : std::pair(tensor.rows, tensor.cols);
  };
  using Shape = std::pair<int64_t, int64_t>;
  for (const MapForm& form : kAllForms) {
    const FittedMap map = Fit(samples, form);
    const MapTensors tensors = TensorsOf(map, kHidden);
    EXPECT_EQ(shape(tensors.bias), Shape(1, kHidden));
    EXPECT_EQ(tensors.bias.data, map.bias.data());
    EXPECT_EQ(shape(tensors.scale), form.kind == Kind::kDiagonal ? Shape(1, kHidden) : Shape());
    EXPECT_EQ(shape(tensors.down), form.kind == Kind::kLowRank ? Shape(2, kHidden) : Shape());
    EXPECT_EQ(shape(tensors.up), form.kind == Kind::kLowRank ? Shape(kHidden, 2)
                                 : form.kind == Kind::kFull  ? Shape(kHidden, kHidden)
                                                             : Shape());
  }
}

TEST(MapFitTest, RicherFormsAreNoWorseOnTheDataOfTheFit) {
  for (const double noise : {0.0, 1.0, 30.0}) {
    const Samples samples = SamplesOf(RandomMatrix(kHidden, kHidden, 7), 60, noise, 8);
    const auto error = [&](const MapForm& form) {
      return PlainError(PlainOf(Fit(samples, form)), samples, 0, samples.rows());
    };
    const double bias = error({Kind::kBias});
    EXPECT_LE(error({Kind::kDiagonal}), bias * (1 + 1e-6)) << noise;
    EXPECT_LE(error({Kind::kLowRank, 2}), bias * (1 + 1e-6)) << noise;
    EXPECT_LE(error({Kind::kFull}), bias * (1 + 1e-6)) << noise;
  }
}

// By the mean of its logarithm: of single data sets chance decides.
TEST(MapFitTest, TheRidgeGrowsWithTheNoise) {
  constexpr int kSets = 10;
  const Rows matrix = RandomMatrix(kHidden, kHidden, 9);
  for (const MapForm& form : {MapForm{Kind::kDiagonal}, {Kind::kLowRank, 3}, {Kind::kFull}}) {
    double least = -9;
    for (const double noise : {0.1, 10.0, 1000.0}) {
      double sum = 0;
      for (int set = 0; set < kSets; ++set) {
        sum += std::log10(Fit(SamplesOf(matrix, 60, noise, 10 + set), form).ridge);
      }
      EXPECT_GT(sum / kSets, least + 0.3) << NameOf(form) << " " << noise;
      least = sum / kSets;
    }
    EXPECT_GT(least, 0.5) << NameOf(form);
  }
}

TEST(MapFitTest, EqualToTheBitHoweverCalledAndAtAnyThreads) {
  const Samples samples = SamplesOf(RandomMatrix(140, 140, 11), kFolds * 50, 1, 12);
  for (MapForm form : kAllForms) {
    const FittedMap one = Fit(samples, form);
    for (const auto& [rows, threads] : {std::pair(1000, 3), std::pair(7, 1), std::pair(1, 2)}) {
      const FittedMap other = Fit(samples, form, rows, threads);
      EXPECT_EQ(one.bias, other.bias) << NameOf(form);
      EXPECT_EQ(one.scale, other.scale);
      EXPECT_EQ(one.down, other.down);
      EXPECT_EQ(one.up, other.up);
      EXPECT_EQ(one.ridge, other.ridge);
      EXPECT_EQ(one.explained, other.explained);
    }
  }
}

TEST(MapFitTest, NothingToExplainIsExplainedByNothing) {
  Samples samples = SamplesOf(RandomMatrix(kHidden, kHidden, 13), 20, 1, 14);
  samples.y.assign(samples.y.size(), 0);
  for (const MapForm& form : kAllForms) {
    const FittedMap map = Fit(samples, form);
    EXPECT_EQ(map.explained, 0);
    EXPECT_THAT(map.bias, testing::Each(0));
  }
}

TEST(MapFitTest, NeedsTwoFoldsWithSamples) {
  const Samples samples = SamplesOf(RandomMatrix(kHidden, kHidden, 1), 8, 1, 2);
  for (const MapForm& form : kAllForms) {
    MapFit fit(kHidden, form, 3);
    EXPECT_EQ(fit.Solve().status().code(), absl::StatusCode::kFailedPrecondition);
    fit.Add(1, samples.X(0, 4), samples.Y(0, 4));
    EXPECT_EQ(fit.Solve().status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(fit.Solve().status().message()), HasSubstr("1 of 3 folds"));
    fit.Add(2, samples.X(4, 4), samples.Y(4, 4));
    EXPECT_TRUE(fit.Solve().ok());
  }
}

TEST(MapFitTest, RefusesSamplesThatAreNotFinite) {
  for (const MapForm& form : kAllForms) {
    Samples samples = SamplesOf(RandomMatrix(kHidden, kHidden, 1), 8, 1, 2);
    samples.y[5] = std::numeric_limits<float>::quiet_NaN();
    MapFit fit(kHidden, form, 2);
    fit.Add(0, samples.X(0, 4), samples.Y(0, 4));
    fit.Add(1, samples.X(4, 4), samples.Y(4, 4));
    const absl::Status status = fit.Solve().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("not a finite number"));
  }
}

}  // namespace
}  // namespace skipstone::quality
