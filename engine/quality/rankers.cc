#include "engine/quality/rankers.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "absl/status/status.h"
#include "base/check.h"
#include "base/parallel_for.h"
#include "engine/backend/widen.h"
#include "engine/quality/map_apply.h"

namespace skipstone::quality {
namespace {

using Eigen::Index;
using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Of f32 sums before they join f64 ones. The rounding of so few terms is far below what tells
// layers apart, and 128 rows of them stay in the second-level cache.
constexpr Index kBlockColumns = 512;

absl::Status CheckHasWeights(const ModelTensors& tensors) {
  for (const LayerTensors& layer : tensors.layers) {
    if (layer.q.data == nullptr || layer.k.data == nullptr) {
      return absl::FailedPreconditionError(
          "ranking by weights: this model's are made on the device, the host has none");
    }
  }
  return absl::OkStatus();
}

// Columns [first, first + count) of the rows of one head.
RowMajor HeadWeights(const Tensor& tensor, int head, int head_dim, Index first, Index count) {
  RowMajor weights(head_dim, count);
  for (Index row = 0; row < head_dim; ++row) {
    const Index from = (Index{head} * head_dim + row) * tensor.cols + first;
    float* const to = &weights(row, 0);
    const auto* const bits = static_cast<const uint16_t*>(tensor.data);
    switch (
        tensor.type) {  // outside of the loop, which is all that Gate-Norm does to 16-bit weights
      case DType::kF32:
        std::copy_n(static_cast<const float*>(tensor.data) + from, count, to);
        break;
      case DType::kF16:
        std::transform(bits + from, bits + from + count, to, WidenF16);
        break;
      case DType::kBF16:
        std::transform(bits + from, bits + from + count, to, WidenBf16);
        break;
    }
  }
  return weights;
}

// W W^T of one head's rows: its lower triangle.
Eigen::MatrixXd Gram(const Tensor& tensor, int head, int head_dim) {
  Eigen::MatrixXd sum = Eigen::MatrixXd::Zero(head_dim, head_dim);
  Eigen::MatrixXf part(head_dim, head_dim);
  for (Index first = 0; first < tensor.cols; first += kBlockColumns) {
    const Index count = std::min(kBlockColumns, tensor.cols - first);
    part.setZero();
    part.selfadjointView<Eigen::Lower>().rankUpdate(
        HeadWeights(tensor, head, head_dim, first, count));
    sum += part.cast<double>();
  }
  return sum;
}

double Coupling(const LayerTensors& layer, const ModelShape& shape) {
  double sum = 0;
  for (int group = 0; group < shape.kv_heads; ++group) {
    const Eigen::MatrixXd keys = Gram(layer.k, group, shape.head_dim);
    const int heads = shape.heads / shape.kv_heads;
    for (int head = group * heads; head < (group + 1) * heads; ++head) {
      // tr(A B) of symmetric matrices: the diagonal's products and twice those below it.
      const Eigen::MatrixXd products = Gram(layer.q, head, shape.head_dim).cwiseProduct(keys);
      sum += 2 * products.sum() - products.trace();
    }
  }
  return std::sqrt(sum);
}

struct Products {
  double xx = 0, xy = 0, yy = 0;

  // A row of zeros is in the direction of another one only.
  double Cosine() const {
    if (xx == 0 || yy == 0) return xx == yy ? 1 : 0;
    return std::clamp(xy / std::sqrt(xx * yy), -1.0, 1.0);
  }
};

Products ProductsOf(std::span<const float> x, std::span<const float> y) {
  Products sums;
  for (size_t i = 0; i < x.size(); ++i) {
    sums.xx += double{x[i]} * x[i];
    sums.xy += double{x[i]} * y[i];
    sums.yy += double{y[i]} * y[i];
  }
  return sums;
}

template <typename Sums, typename Score>
Scores ScoresOf(const std::vector<Sums>& layers, Score score) {
  Scores scores;
  for (const Sums& layer : layers) {
    SKIPSTONE_CHECK(layer.rows > 0);
    scores.push_back(score(layer));
  }
  return scores;
}

// Rotary position embedding of the row of each position, rotate-half pairing (SEMANTICS 1).
void Rotate(const ModelShape& shape, const std::vector<Index>& positions, RowMajor* rows) {
  const Index half = shape.head_dim / 2;
  for (Index i = 0; i < half; ++i) {
    const double frequency =
        std::pow(shape.rope_theta, -2.0 * static_cast<double>(i) / shape.head_dim);
    for (size_t row = 0; row < positions.size(); ++row) {
      const double angle = static_cast<double>(positions[row]) * frequency;
      float &x = (*rows)(static_cast<Index>(row), i),
            &y = (*rows)(static_cast<Index>(row), i + half);
      const double rotated = x * std::cos(angle) - y * std::sin(angle);
      y = static_cast<float>(x * std::sin(angle) + y * std::cos(angle));
      x = static_cast<float>(rotated);
    }
  }
}

// The softmax of a query's scores of its keys, those at its position and before: the first one's.
double FirstWeight(const float* scores, Index keys, double scale) {
  double sum = 0;
  for (Index key = 0; key < keys; ++key) {
    sum += std::exp((double{scores[key]} - scores[0]) * scale);
  }
  return 1 / sum;
}

// The normed rows of a window, and those whose queries are looked at.
struct SinkWindow {
  RowMajor inputs, query_inputs;
  std::vector<Index> positions, query_positions;
};

SinkWindow WindowOf(const LayerTensors& weights, const ModelShape& shape,
                    std::span<const float> before, int most_queries) {
  const Index hidden = shape.hidden, rows = std::ssize(before) / hidden;
  SKIPSTONE_CHECK(rows >= 1 && rows * hidden == std::ssize(before));
  std::vector<float> norm(hidden);
  for (Index i = 0; i < hidden; ++i) {
    norm[i] = ElementAt(weights.attention_norm.data, weights.attention_norm.type, i);
  }
  const std::vector<float> normed = RmsNorm(before, norm, shape.norm_epsilon);
  const Index queries = std::min<Index>(rows, most_queries);
  SinkWindow window{.inputs = Eigen::Map<const RowMajor>(normed.data(), rows, hidden),
                    .query_inputs = RowMajor(queries, hidden),
                    .positions = std::vector<Index>(rows)};
  std::iota(window.positions.begin(), window.positions.end(), 0);
  for (Index i = 0; i < queries; ++i) {
    window.query_positions.push_back((i + 1) * rows / queries - 1);
    window.query_inputs.row(i) = window.inputs.row(window.query_positions[i]);
  }
  return window;
}

// Attention weights on position 0, summed over queries and the heads that share a key head.
double SinkWeight(const LayerTensors& weights, const ModelShape& shape, int group,
                  const SinkWindow& window) {
  const auto project = [&](const Tensor& tensor, int head, const RowMajor& inputs,
                           const std::vector<Index>& positions) {
    const RowMajor of_head = HeadWeights(tensor, head, shape.head_dim, 0, shape.hidden);
    RowMajor rows = inputs * of_head.transpose();
    Rotate(shape, positions, &rows);
    return rows;
  };
  const double scale = 1 / std::sqrt(static_cast<double>(shape.head_dim));
  const int heads = shape.heads / shape.kv_heads;
  const RowMajor keys = project(weights.k, group, window.inputs, window.positions);
  double sum = 0;
  for (int head = group * heads; head < (group + 1) * heads; ++head) {
    const RowMajor scores =
        project(weights.q, head, window.query_inputs, window.query_positions) * keys.transpose();
    for (Index row = 0; row < scores.rows(); ++row) {
      sum += FirstWeight(&scores(row, 0), window.query_positions[row] + 1, scale);
    }
  }
  return sum;
}

}  // namespace

absl::StatusOr<Scores> GateNorm(const ModelTensors& tensors, const ModelShape& shape, int threads) {
  if (absl::Status status = CheckHasWeights(tensors); !status.ok()) return status;
  Scores scores(tensors.layers.size());
  ParallelFor(threads, std::ssize(scores),
              [&](int64_t layer) { scores[layer] = Coupling(tensors.layers[layer], shape); });
  return scores;
}

StateScores::StateScores(int num_layers, int hidden) : hidden_(hidden), layers_(num_layers) {}

void StateScores::Add(int layer, std::span<const float> before,
                      std::span<const float> after_attention, std::span<const float> after_layer) {
  const auto width = static_cast<size_t>(hidden_);
  SKIPSTONE_CHECK(!before.empty() && before.size() % width == 0 &&
                  before.size() == after_attention.size() && before.size() == after_layer.size());
  LayerSums& sums = layers_.at(layer);
  double block = 0;
  for (size_t first = 0; first < before.size(); first += width) {
    const auto x = before.subspan(first, width), y = after_attention.subspan(first, width),
               z = after_layer.subspan(first, width);
    block = ProductsOf(x, z).Cosine();
    sums.attention += ProductsOf(x, y).Cosine();
    sums.mlp += ProductsOf(y, z).Cosine();
    sums.block += block;
    ++sums.rows;
  }
  sums.angle += std::acos(block) / std::numbers::pi;
  ++sums.windows;
}

Scores StateScores::AttentionCosine() const {
  return ScoresOf(layers_, [](const LayerSums& of) { return 1 - of.attention / of.rows; });
}
Scores StateScores::MlpCosine() const {
  return ScoresOf(layers_, [](const LayerSums& of) { return 1 - of.mlp / of.rows; });
}
Scores StateScores::BlockInfluence() const {
  return ScoresOf(layers_, [](const LayerSums& of) { return 1 - of.block / of.rows; });
}
Scores StateScores::AngularDistance() const {
  return ScoresOf(layers_, [](const LayerSums& of) { return of.angle / of.windows; });
}

SinkScores::SinkScores(const ModelTensors& tensors, const ModelShape& shape, const Options& options)
    : tensors_(tensors), shape_(shape), options_(options), layers_(shape.num_layers) {}

absl::StatusOr<SinkScores> SinkScores::Make(const ModelTensors& tensors, const ModelShape& shape,
                                            const Options& options) {
  if (absl::Status status = CheckHasWeights(tensors); !status.ok()) return status;
  SKIPSTONE_CHECK(options.query_rows >= 1);
  return SinkScores(tensors, shape, options);
}

void SinkScores::Add(int layer, std::span<const float> before) {
  const LayerTensors& weights = tensors_.layers.at(layer);
  const SinkWindow window = WindowOf(weights, shape_, before, options_.query_rows);
  std::vector<double> sums(shape_.kv_heads);
  ParallelFor(options_.threads, std::ssize(sums), [&](int64_t group) {
    sums[group] = SinkWeight(weights, shape_, static_cast<int>(group), window);
  });
  layers_[layer].weight += std::accumulate(sums.begin(), sums.end(), 0.0);
  layers_[layer].rows += std::ssize(window.query_positions) * shape_.heads;
}

Scores SinkScores::Get() const {
  return ScoresOf(layers_, [](const LayerSums& of) { return 1 - of.weight / of.rows; });
}

}  // namespace skipstone::quality
