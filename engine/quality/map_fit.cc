#include "engine/quality/map_fit.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "engine/quality/ridge.h"

namespace skipstone::quality {
namespace {

// From next to none, but far above rounding, to a map that is the bias. Falling: of equal errors
// the first one, the simplest map, is taken.
constexpr std::array<double, 7> kRidges = {100, 10, 1, 0.1, 0.01, 1e-3, 1e-4};
constexpr std::string_view kRankPrefix = "rank=";

Moments::Products ProductsOf(const MapForm& form) {
  if (form.kind == MapForm::Kind::kBias) return Moments::Products::kNone;
  return form.kind == MapForm::Kind::kDiagonal ? Moments::Products::kDiagonal
                                               : Moments::Products::kAll;
}

std::vector<float> Narrow(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

FittedMap Narrow(const LinearMap& map) {
  FittedMap fitted{.bias = Narrow(map.bias), .scale = Narrow(map.scale)};
  if (map.directions.empty()) {
    fitted.up = Narrow(map.coefficients);
    return fitted;
  }
  fitted.down = Narrow(map.coefficients);
  const size_t hidden = map.bias.size(), rank = map.directions.size() / hidden;
  fitted.up.resize(map.directions.size());
  for (size_t i = 0; i < rank; ++i) {
    for (size_t c = 0; c < hidden; ++c) {
      fitted.up[c * rank + i] = static_cast<float>(map.directions[i * hidden + c]);
    }
  }
  return fitted;
}

}  // namespace

absl::StatusOr<MapForm> ParseMapForm(std::string_view text, int hidden) {
  if (text == "bias") return MapForm{MapForm::Kind::kBias};
  if (text == "diag") return MapForm{MapForm::Kind::kDiagonal};
  if (text == "full") return MapForm{MapForm::Kind::kFull};
  if (text == "value") return MapForm{MapForm::Kind::kValue};
  MapForm form{MapForm::Kind::kLowRank};
  if (text.substr(0, kRankPrefix.size()) == kRankPrefix) {
    const std::string number(text.substr(kRankPrefix.size()));
    if (absl::SimpleAtoi(number, &form.rank) && form.rank >= 1 && form.rank <= hidden) return form;
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "map '%s': must be bias, diag, full, value, or rank=R with R from 1 to %d", text, hidden));
}

std::string NameOf(const MapForm& form) {
  switch (form.kind) {
    case MapForm::Kind::kBias:
      return "bias";
    case MapForm::Kind::kDiagonal:
      return "diag";
    case MapForm::Kind::kLowRank:
      return absl::StrFormat("%s%d", kRankPrefix, form.rank);
    case MapForm::Kind::kFull:
      return "full";
    case MapForm::Kind::kValue:
      return "value";
  }
  return "";
}

MapTensors TensorsOf(const FittedMap& map, int hidden) {
  const auto view = [](const std::vector<float>& values, int64_t rows) {
    if (values.empty()) return Tensor{};
    return Tensor{values.data(), DType::kF32, rows, std::ssize(values) / rows};
  };
  return {.bias = view(map.bias, 1),
          .scale = view(map.scale, 1),
          .down = view(map.down, std::ssize(map.down) / hidden),
          .up = view(map.up, hidden)};
}

MapFit::MapFit(int hidden, const MapForm& form, int folds, int threads)
    : form_(form), threads_(threads), folds_(folds, Moments(hidden, ProductsOf(form))) {
  SKIPSTONE_CHECK(folds >= 2 && form.kind != MapForm::Kind::kValue);
}

void MapFit::Add(int fold, std::span<const float> inputs, std::span<const float> targets) {
  folds_.at(fold).Add(inputs, targets, threads_);
}

// Of the folds without `left_out`; -1: of all.
Moments MapFit::SumOfFolds(int left_out) const {
  Moments sum(folds_[0].hidden, folds_[0].products);
  for (int fold = 0; fold < std::ssize(folds_); ++fold) {
    if (fold != left_out) sum += folds_[fold];
  }
  return sum;
}

std::vector<double> MapFit::LeftOutErrors() const {
  std::vector<double> errors(form_.kind == MapForm::Kind::kBias ? 1 : kRidges.size());
  for (int fold = 0; fold < std::ssize(folds_); ++fold) {
    if (folds_[fold].rows == 0) continue;
    const RidgeRegression others(SumOfFolds(fold), form_.rank, threads_);
    for (size_t i = 0; i < errors.size(); ++i) {
      errors[i] += SquaredError(others.Solve(kRidges[i]), folds_[fold], threads_);
    }
  }
  return errors;
}

absl::StatusOr<FittedMap> MapFit::Solve() {
  int filled = 0;
  for (Moments& fold : folds_) {
    fold.Finish(threads_);
    if (!fold.finite()) {
      return absl::FailedPreconditionError("fitting a map: a sample is not a finite number");
    }
    if (fold.rows > 0) ++filled;
  }
  if (filled < 2) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "fitting a map: %d of %d folds have samples, 2 are needed", filled, folds_.size()));
  }
  const std::vector<double> errors = LeftOutErrors();
  const size_t best = std::min_element(errors.begin(), errors.end()) - errors.begin();
  Moments all = SumOfFolds(-1);
  double squares = 0;
  for (const double square : all.yy) squares += square;
  FittedMap map =
      Narrow(RidgeRegression(std::move(all), form_.rank, threads_).Solve(kRidges[best]));
  if (form_.kind != MapForm::Kind::kBias) map.ridge = kRidges[best];
  if (squares > 0) map.explained = 1 - errors[best] / squares;
  return map;
}

}  // namespace skipstone::quality
