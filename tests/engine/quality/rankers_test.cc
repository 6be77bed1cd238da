#include "engine/quality/rankers.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <numbers>
#include <random>
#include <vector>

#include "engine/backend/random_fill.h"
#include "engine/model/synthetic.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone::quality {
namespace {

using testing::Each;
using testing::ElementsAre;

// A model of attention weights alone, of random values that all three types hold exactly.
class AttentionModel {
 public:
  AttentionModel(const ModelShape& shape, DType type, uint64_t seed = 1) : shape(shape) {
    std::mt19937_64 random(seed);
    for (int layer = 0; layer < shape.num_layers; ++layer) {
      tensors.layers.push_back({.attention_norm = Make(1, shape.hidden, DType::kF32, random),
                                .q = Make(shape.q_size(), shape.hidden, type, random),
                                .k = Make(shape.kv_size(), shape.hidden, type, random)});
    }
  }

  static double At(const Tensor& tensor, int row, int column) {
    const int64_t i = row * tensor.cols + column;
    if (tensor.type == DType::kF32) return static_cast<const float*>(tensor.data)[i];
    // As numbers of eighths: see Make.
    const uint16_t bits = static_cast<const uint16_t*>(tensor.data)[i];
    for (int eighths = -16; eighths <= 16; ++eighths) {
      const float value = static_cast<float>(eighths) / 8;
      if (bits == (tensor.type == DType::kF16 ? ToF16Bits(value) : ToBf16Bits(value))) return value;
    }
    ADD_FAILURE() << bits;
    return 0;
  }
  void Scale(const Tensor& tensor, float factor) {
    auto* const values = static_cast<float*>(const_cast<void*>(tensor.data));
    for (int64_t i = 0; i < tensor.rows * tensor.cols; ++i) values[i] *= factor;
  }

  const ModelShape shape;
  ModelTensors tensors;

 private:
  Tensor Make(int rows, int columns, DType type, std::mt19937_64& random) {
    auto& bytes =
        storage_.emplace_back(std::make_unique<uint32_t[]>(static_cast<size_t>(rows) * columns));
    for (int i = 0; i < rows * columns; ++i) {
      const float value = static_cast<float>(static_cast<int>(random() % 33) - 16) / 8;
      const uint16_t bits = type == DType::kF16 ? ToF16Bits(value) : ToBf16Bits(value);
      if (type == DType::kF32) {
        std::memcpy(&bytes[i], &value, sizeof(value));
      } else {
        std::memcpy(reinterpret_cast<uint16_t*>(bytes.get()) + i, &bits, sizeof(bits));
      }
    }
    return {.data = bytes.get(), .type = type, .rows = rows, .cols = columns};
  }

  std::vector<std::unique_ptr<uint32_t[]>> storage_;
};

constexpr ModelShape kShape = {
    .num_layers = 3, .hidden = 20, .heads = 4, .kv_heads = 2, .head_dim = 6};

// The norm of the [hidden, hidden] products themselves.
double PlainCoupling(const AttentionModel& model, int layer) {
  const ModelShape& shape = model.shape;
  const LayerTensors& weights = model.tensors.layers[layer];
  double sum = 0;
  for (int head = 0; head < shape.heads; ++head) {
    const int group = head / (shape.heads / shape.kv_heads);
    for (int a = 0; a < shape.hidden; ++a) {
      for (int b = 0; b < shape.hidden; ++b) {
        double coupling = 0;
        for (int i = 0; i < shape.head_dim; ++i) {
          coupling += AttentionModel::At(weights.q, head * shape.head_dim + i, a) *
                      AttentionModel::At(weights.k, group * shape.head_dim + i, b);
        }
        sum += coupling * coupling;
      }
    }
  }
  return std::sqrt(sum);
}

TEST(GateNormTest, IsTheNormOfQueryKeyCoupling) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    const AttentionModel model(kShape, type);
    const Scores scores = GateNorm(model.tensors, kShape, 2).value();
    ASSERT_EQ(scores.size(), 3);
    for (int layer = 0; layer < 3; ++layer) {
      const double plain = PlainCoupling(model, layer);
      EXPECT_NEAR(scores[layer], plain, 1e-5 * plain) << NameOf(type) << " " << layer;
    }
  }
}

// More inputs than one block of sums.
TEST(GateNormTest, SumsOverAllInputs) {
  ModelShape shape = kShape;
  shape.num_layers = 1;
  shape.hidden = 1100;
  shape.heads = shape.kv_heads = 1;
  const AttentionModel model(shape, DType::kBF16);
  const double plain = PlainCoupling(model, 0);
  EXPECT_NEAR(GateNorm(model.tensors, shape, 1).value()[0], plain, 1e-5 * plain);
}

TEST(GateNormTest, EqualToTheBitAtAnyThreads) {
  const AttentionModel model(kShape, DType::kBF16);
  const Scores one = GateNorm(model.tensors, kShape, 1).value();
  EXPECT_EQ(GateNorm(model.tensors, kShape, 3).value(), one);
}

TEST(GateNormTest, NeedsWeightsOnTheHost) {
  const auto spec =
      ParseSyntheticModel("synthetic:layers=2,hidden=64,heads=4,kv_heads=2,ffn=128,vocab=100")
          .value();
  const auto seeded = SyntheticWeights::Make(spec, 1, SyntheticMatrices::kSeeded).value();
  EXPECT_EQ(GateNorm(seeded->tensors(), spec.config.shape, 1).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(SinkScores::Make(seeded->tensors(), spec.config.shape, {}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  const auto filled = SyntheticWeights::Make(spec, 1).value();
  EXPECT_TRUE(GateNorm(filled->tensors(), spec.config.shape, 1).ok());
}

TEST(StateScoresTest, AreMeansOverRowsAndOfLastRows) {
  StateScores scores(1, 2);
  // Angles in eighths of a turn: attention turns the first row by 1, the MLP by 1 more; the second
  // row by 2 and back by 2; the window's end not at all.
  scores.Add(0, std::vector<float>{1, 0, 1, 0}, std::vector<float>{2, 2, 0, 5},
             std::vector<float>{0, 3, 7, 0});
  // Attention turns by 2, the MLP by 2 more.
  scores.Add(0, std::vector<float>{1, 0}, std::vector<float>{0, 1}, std::vector<float>{-1, 0});
  const double diagonal = std::numbers::sqrt2 / 2;
  const auto near = [](double value) { return ElementsAre(testing::DoubleNear(value, 1e-12)); };
  EXPECT_THAT(scores.AttentionCosine(), near(1 - (diagonal + 0 + 0) / 3));
  EXPECT_THAT(scores.MlpCosine(), near(1 - (diagonal + 0 + 0) / 3));
  EXPECT_THAT(scores.BlockInfluence(), near(1 - (0 + 1 - 1) / 3.0));
  EXPECT_THAT(scores.AngularDistance(), near((0 + 1) / 2.0));
}

TEST(StateScoresTest, KeepSublayersAndLayersApart) {
  StateScores scores(3, 2);
  const std::vector<float> right = {1, 0}, up = {0, 1};
  scores.Add(0, right, up, up);        // the attention turns
  scores.Add(1, right, right, up);     // the MLP turns
  scores.Add(2, right, right, right);  // nothing does
  EXPECT_THAT(scores.AttentionCosine(), ElementsAre(1, 0, 0));
  EXPECT_THAT(scores.MlpCosine(), ElementsAre(0, 1, 0));
  EXPECT_THAT(scores.BlockInfluence(), ElementsAre(1, 1, 0));
  EXPECT_THAT(scores.AngularDistance(), ElementsAre(0.5, 0.5, 0));
}

TEST(StateScoresTest, RowsOfZerosAreUnchangedOrChanged) {
  StateScores scores(2, 2);
  const std::vector<float> zero = {0, 0}, some = {3, 4};
  scores.Add(0, zero, zero, zero);
  scores.Add(1, zero, some, some);
  EXPECT_THAT(scores.AttentionCosine(), ElementsAre(0, 1));
}

TEST(StateScoresTest, AStateThatIsNotFiniteMakesItsScoreNaN) {
  StateScores scores(1, 2);
  const std::vector<float> bad = {std::numeric_limits<float>::quiet_NaN(), 1}, good = {1, 2};
  scores.Add(0, good, bad, good);
  EXPECT_TRUE(std::isnan(scores.AttentionCosine()[0]));
  EXPECT_EQ(scores.BlockInfluence()[0], 1 - 1);
}

std::vector<float> RandomStates(int rows, int hidden, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> states(static_cast<size_t>(rows) * hidden);
  for (float& value : states) value = normal(random);
  return states;
}

// Row `row` of the projection of head `head` after the rotary embedding.
std::vector<double> PlainHead(const ModelShape& shape, const LayerTensors& layer,
                              const Tensor& weights, int head, const float* state, int row) {
  double squares = 0;
  for (int i = 0; i < shape.hidden; ++i) squares += double{state[i]} * state[i];
  const double scale = 1 / std::sqrt(squares / shape.hidden + shape.norm_epsilon);
  std::vector<double> x(shape.head_dim), rotated(shape.head_dim);
  for (int i = 0; i < shape.head_dim; ++i) {
    for (int c = 0; c < shape.hidden; ++c) {
      x[i] += AttentionModel::At(weights, head * shape.head_dim + i, c) * state[c] * scale *
              AttentionModel::At(layer.attention_norm, 0, c);
    }
  }
  const int half = shape.head_dim / 2;
  for (int i = 0; i < half; ++i) {
    const double angle = row / std::pow(shape.rope_theta, 2.0 * i / shape.head_dim);
    rotated[i] = x[i] * std::cos(angle) - x[i + half] * std::sin(angle);
    rotated[i + half] = x[i + half] * std::cos(angle) + x[i] * std::sin(angle);
  }
  return rotated;
}

// Summed over heads.
double PlainFirstWeight(const AttentionModel& model, int layer, const std::vector<float>& states,
                        int row) {
  const ModelShape& shape = model.shape;
  const LayerTensors& weights = model.tensors.layers[layer];
  double sum = 0;
  for (int head = 0; head < shape.heads; ++head) {
    const auto at = [&](int r) { return &states[static_cast<size_t>(r) * shape.hidden]; };
    const auto q = PlainHead(shape, weights, weights.q, head, at(row), row);
    double first = 0, all = 0;
    for (int key = 0; key <= row; ++key) {
      const int group = head / (shape.heads / shape.kv_heads);
      const auto k = PlainHead(shape, weights, weights.k, group, at(key), key);
      double dot = 0;
      for (int i = 0; i < shape.head_dim; ++i) dot += q[i] * k[i];
      const double weight = std::exp(dot / std::sqrt(shape.head_dim));
      if (key == 0) first = weight;
      all += weight;
    }
    sum += first / all;
  }
  return sum;
}

TEST(SinkScoresTest, IsTheMeanWeightOnTheFirstPosition) {
  for (const DType type : {DType::kF32, DType::kBF16}) {
    const AttentionModel model(kShape, type);
    SinkScores scores = SinkScores::Make(model.tensors, kShape, {.query_rows = 4}).value();
    Scores plain;
    for (int layer = 0; layer < 3; ++layer) {
      // Ten rows give those at 1, 4, 6 and 9; of three rows all are taken.
      const auto longer = RandomStates(10, kShape.hidden, 2 + layer);
      const auto shorter = RandomStates(3, kShape.hidden, 20 + layer);
      double sum = 0;
      for (const int row : {1, 4, 6, 9}) sum += PlainFirstWeight(model, layer, longer, row);
      for (const int row : {0, 1, 2}) sum += PlainFirstWeight(model, layer, shorter, row);
      plain.push_back(1 - sum / (7 * kShape.heads));
      scores.Add(layer, longer);
      scores.Add(layer, shorter);
    }
    EXPECT_THAT(scores.Get(), testing::Pointwise(testing::DoubleNear(1e-5), plain));
  }
}

TEST(SinkScoresTest, UniformAttentionAndSinks) {
  AttentionModel model(kShape, DType::kF32);
  SinkScores scores = SinkScores::Make(model.tensors, kShape, {.query_rows = 1}).value();
  // Without keys all positions weigh alike: a fifth each.
  for (int layer = 0; layer < 3; ++layer) model.Scale(model.tensors.layers[layer].k, 0);
  for (int layer = 0; layer < 3; ++layer) scores.Add(layer, RandomStates(5, kShape.hidden, 3));
  EXPECT_THAT(scores.Get(), Each(testing::DoubleNear(0.8, 1e-6)));
  // One row sees itself only.
  SinkScores alone = SinkScores::Make(model.tensors, kShape, {}).value();
  for (int layer = 0; layer < 3; ++layer) alone.Add(layer, RandomStates(1, kShape.hidden, 3));
  EXPECT_THAT(alone.Get(), Each(0));
}

TEST(SinkScoresTest, HugeScoresMakeAllOrNothing) {
  AttentionModel model(kShape, DType::kF32);
  for (const LayerTensors& layer : model.tensors.layers) model.Scale(layer.k, 1e6f);
  SinkScores scores = SinkScores::Make(model.tensors, kShape, {}).value();
  for (int layer = 0; layer < 3; ++layer) scores.Add(layer, RandomStates(40, kShape.hidden, 3));
  for (const double score : scores.Get()) {
    const double winners = score * 32 * kShape.heads;
    EXPECT_NEAR(winners, std::round(winners), 1e-3);
  }
}

TEST(SinkScoresTest, EqualToTheBitAtAnyThreads) {
  const AttentionModel model(kShape, DType::kBF16);
  std::vector<Scores> all;
  for (const int threads : {1, 3}) {
    SinkScores scores = SinkScores::Make(model.tensors, kShape, {.threads = threads}).value();
    for (int layer = 0; layer < 3; ++layer) scores.Add(layer, RandomStates(40, kShape.hidden, 3));
    all.push_back(scores.Get());
  }
  EXPECT_EQ(all[0], all[1]);
}

}  // namespace
}  // namespace skipstone::quality
