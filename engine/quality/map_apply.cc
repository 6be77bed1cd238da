#include "engine/quality/map_apply.h"

#include <Eigen/Core>
#include <cmath>
#include <cstddef>

namespace skipstone::quality {
namespace {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const RowMajor> MatrixOf(std::span<const float> values, size_t cols) {
  return {values.data(), static_cast<Eigen::Index>(values.size() / cols),
          static_cast<Eigen::Index>(cols)};
}

}  // namespace

std::vector<float> RmsNorm(std::span<const float> state, std::span<const float> norm,
                           float epsilon) {
  const size_t hidden = norm.size();
  std::vector<float> normed(state.size());
  for (size_t first = 0; first < state.size(); first += hidden) {
    double squares = 0;
    for (size_t i = 0; i < hidden; ++i) squares += double{state[first + i]} * state[first + i];
    const double mean = squares / static_cast<double>(hidden);
    const auto scale = static_cast<float>(1 / std::sqrt(mean + epsilon));
    for (size_t i = 0; i < hidden; ++i) normed[first + i] = state[first + i] * scale * norm[i];
  }
  return normed;
}

void AddMap(const FittedMap& map, std::span<const float> normed, std::span<float> residual) {
  const size_t hidden = map.bias.size();
  for (size_t i = 0; i < residual.size(); ++i) {
    const size_t channel = i % hidden;
    if (!map.scale.empty()) residual[i] += map.scale[channel] * normed[i];
    residual[i] += map.bias[channel];
  }
  if (map.up.empty()) return;
  Eigen::Map<RowMajor> out(residual.data(), static_cast<Eigen::Index>(residual.size() / hidden),
                           static_cast<Eigen::Index>(hidden));
  const auto x = MatrixOf(normed, hidden);
  if (map.down.empty()) {
    out.noalias() += x * MatrixOf(map.up, hidden).transpose();
    return;
  }
  const size_t rank = map.down.size() / hidden;
  const RowMajor low = x * MatrixOf(map.down, hidden).transpose();
  out.noalias() += low * MatrixOf(map.up, rank).transpose();
}

}  // namespace skipstone::quality
