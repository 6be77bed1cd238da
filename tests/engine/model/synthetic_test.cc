#include "engine/model/synthetic.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "engine/backend/random_fill.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kSmall[] = "synthetic:layers=2,hidden=64,heads=4,kv_heads=2,ffn=96,vocab=50";

std::vector<int> Numbers(const ModelShape& s) {
  return {s.num_layers, s.hidden, s.heads, s.kv_heads, s.head_dim, s.ffn, s.vocab, s.max_context};
}

std::unique_ptr<SyntheticWeights> Make(const std::string& model, int threads) {
  auto weights = SyntheticWeights::Make(*ParseSyntheticModel(model), threads);
  EXPECT_TRUE(weights.ok()) << weights.status();
  return *std::move(weights);
}

std::vector<Tensor> All(const ModelTensors& tensors) {
  std::vector<Tensor> all{tensors.embedding, tensors.final_norm, tensors.head};
  for (const LayerTensors& t : tensors.layers) {
    all.insert(all.end(), {t.attention_norm, t.q, t.k, t.v, t.o, t.mlp_norm, t.gate, t.up, t.down});
  }
  return all;
}

uint64_t HashOf(const ModelTensors& tensors) {
  uint64_t hash = Fnv1a64("");
  for (const Tensor& t : All(tensors)) {
    hash = Fnv1a64({static_cast<const char*>(t.data), t.bytes()}, hash);
  }
  return hash;
}

float ElementOf(const Tensor& tensor, int64_t i) {
  if (tensor.type == DType::kF32) return static_cast<const float*>(tensor.data)[i];
  const uint16_t bits = static_cast<const uint16_t*>(tensor.data)[i];
  if (tensor.type == DType::kBF16) {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof(value));
    return value;
  }
  const int exponent = bits >> 10 & 31;
  const float fraction = static_cast<float>(bits & 1023) / 1024;
  const float size =
      exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
  return bits & 0x8000 ? -size : size;
}

TEST(SyntheticModelTest, KnowsTheThreeSizesOfLlama2) {
  EXPECT_THAT(Numbers(ParseSyntheticModel("synthetic:llama-2-7b")->config.shape),
              ElementsAre(32, 4096, 32, 32, 128, 11008, 32000, 4096));
  EXPECT_THAT(Numbers(ParseSyntheticModel("synthetic:llama-2-13b")->config.shape),
              ElementsAre(40, 5120, 40, 40, 128, 13824, 32000, 4096));
  EXPECT_THAT(Numbers(ParseSyntheticModel("synthetic:llama-2-70b")->config.shape),
              ElementsAre(80, 8192, 64, 8, 128, 28672, 32000, 4096));
}

TEST(SyntheticModelTest, ReadsAShape) {
  const auto spec = ParseSyntheticModel(
      "synthetic:layers=4,hidden=512,heads=8,kv_heads=4,ffn=1408,vocab=2048,context=99,type=f16");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_THAT(Numbers(spec->config.shape), ElementsAre(4, 512, 8, 4, 64, 1408, 2048, 99));
  EXPECT_EQ(spec->type, DType::kF16);
  EXPECT_FALSE(spec->config.bos_id.has_value());
  EXPECT_TRUE(spec->config.eos_ids.empty());
}

TEST(SyntheticModelTest, HasDefaultsForKvHeadsContextAndType) {
  const auto spec = ParseSyntheticModel("synthetic:vocab=9,ffn=8,heads=2,hidden=16,layers=1");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_THAT(Numbers(spec->config.shape), ElementsAre(1, 16, 2, 2, 8, 8, 9, 4096));
  EXPECT_EQ(spec->type, DType::kBF16);
}

TEST(SyntheticModelTest, KnowsItsPrefix) {
  EXPECT_TRUE(IsSyntheticModel("synthetic:x"));
  EXPECT_FALSE(IsSyntheticModel("/models/synthetic:x"));
  EXPECT_FALSE(IsSyntheticModel("synthetic"));
}

TEST(SyntheticModelTest, RefusesWrongSpecificationsByKeyAndValue) {
  const std::pair<const char*, const char*> cases[] = {
      {"llama-2-7b", "does not begin with 'synthetic:'"},
      {"synthetic:", "no such shape is known"},
      {"synthetic:llama-2-8b", "no such shape is known"},
      {"synthetic:llama-2-7b,context=8", "unknown key 'llama-2-7b'"},
      {"synthetic:layers=4", "'hidden' is missing"},
      {"synthetic:layers=4,hidden=512,heads=8,ffn=9", "'vocab' is missing"},
      {"synthetic:layers=4,layers=4", "'layers' is given twice"},
      {"synthetic:layers=0", "layers=0 is no integer from 1 to 128"},
      {"synthetic:layers=129", "layers=129 is no integer from 1 to 128"},
      {"synthetic:layers=-1", "layers=-1 is no integer"},
      {"synthetic:layers=", "layers= is no integer"},
      {"synthetic:layers=4x", "layers=4x is no integer"},
      {"synthetic:layers=4=5", "layers=4=5 is no integer"},
      {"synthetic:layers=99999999999", "is no integer"},
      {"synthetic:depth=4", "unknown key 'depth'"},
      {"synthetic:layers=4,,hidden=8", "unknown key ''"},
      {"synthetic:type=int8", "type 'int8' is none of f32, f16, bf16"},
      {"synthetic:layers=1,hidden=100,heads=8,ffn=8,vocab=8",
       "hidden_size 100 is not divisible by num_attention_heads 8"},
      {"synthetic:layers=1,hidden=64,heads=8,kv_heads=3,ffn=8,vocab=8",
       "not divisible by num_key_value_heads 3"},
      {"synthetic:layers=1,hidden=32,heads=8,ffn=8,vocab=8", "head_dim 4 is not a multiple of 8"},
  };
  for (const auto& [model, why] : cases) {
    const auto spec = ParseSyntheticModel(model);
    EXPECT_EQ(spec.status().code(), absl::StatusCode::kInvalidArgument) << model;
    EXPECT_THAT(std::string(spec.status().message()),
                AllOf(HasSubstr("model '" + std::string(model) + "'"), HasSubstr(why)));
  }
}

TEST(SyntheticWeightsTest, HasTheShapesOfTheModel) {
  const auto weights = Make(std::string(kSmall) + ",type=f32", 1);
  const ModelTensors& t = weights->tensors();
  const auto shape = [](const Tensor& tensor) { return std::pair(tensor.rows, tensor.cols); };
  EXPECT_EQ(shape(t.embedding), std::pair(50l, 64l));
  EXPECT_EQ(shape(t.head), std::pair(50l, 64l));
  EXPECT_EQ(shape(t.final_norm), std::pair(1l, 64l));
  ASSERT_EQ(t.layers.size(), 2);
  EXPECT_EQ(shape(t.layers[1].q), std::pair(64l, 64l));
  EXPECT_EQ(shape(t.layers[1].k), std::pair(32l, 64l));
  EXPECT_EQ(shape(t.layers[1].v), std::pair(32l, 64l));
  EXPECT_EQ(shape(t.layers[1].o), std::pair(64l, 64l));
  EXPECT_EQ(shape(t.layers[1].gate), std::pair(96l, 64l));
  EXPECT_EQ(shape(t.layers[1].down), std::pair(64l, 96l));
  for (const Tensor& tensor : All(t)) EXPECT_EQ(tensor.type, DType::kF32);
}

// The hashes are fixed (f32 and bf16 were computed apart from this code as well): another process,
// thread count or machine must make the same bytes, or benchmarks and tests of different runs would
// not be of the same model.
TEST(SyntheticWeightsTest, IsTheSameInEveryProcessAndForEveryNumberOfThreads) {
  const std::pair<const char*, uint64_t> cases[] = {{",type=f32", 0xe2bf7d7270c271deu},
                                                    {",type=f16", 0xc456bd869ea99059u},
                                                    {",type=bf16", 0xc8aaddce64a8fa22u}};
  for (const auto& [type, hash] : cases) {
    for (const int threads : {1, 3}) {
      EXPECT_EQ(HashOf(Make(kSmall + std::string(type), threads)->tensors()), hash)
          << type << " with " << threads << " threads";
    }
  }
}

// What a backend makes of the seeds is what the host makes.
TEST(SyntheticWeightsTest, SeededMatricesAreTheFilledOnesWithoutTheirData) {
  const auto spec = *ParseSyntheticModel(kSmall);
  const auto filled = *SyntheticWeights::Make(spec, 1);
  const auto seeded = *SyntheticWeights::Make(spec, 1, SyntheticMatrices::kSeeded);
  const std::vector<Tensor> with = All(filled->tensors());
  const std::vector<Tensor> without = All(seeded->tensors());
  ASSERT_EQ(with.size(), without.size());
  for (size_t i = 0; i < with.size(); ++i) {
    const Tensor& t = without[i];
    ASSERT_EQ(t.bytes(), with[i].bytes());
    if (t.rows == 1) {
      EXPECT_EQ(std::memcmp(t.data, with[i].data, t.bytes()), 0);
      continue;
    }
    EXPECT_EQ(t.data, nullptr);
    std::vector<char> made(t.bytes());
    FillUniform({.type = t.type, .seed = t.seed, .inputs = t.cols}, 0, t.rows * t.cols,
                made.data());
    EXPECT_EQ(std::memcmp(made.data(), with[i].data, t.bytes()), 0) << i;
  }
}

// Tensors of several chunks, which threads share.
TEST(SyntheticWeightsTest, IsTheSameForEveryNumberOfThreadsInLargeTensors) {
  const std::string model = "synthetic:layers=1,hidden=512,heads=8,ffn=2051,vocab=1027";
  const uint64_t alone = HashOf(Make(model, 1)->tensors());
  for (const int threads : {2, 5}) EXPECT_EQ(HashOf(Make(model, threads)->tensors()), alone);
}

TEST(SyntheticWeightsTest, HasNormsOfOneInEveryType) {
  for (const char* type : {",type=f32", ",type=f16", ",type=bf16"}) {
    const auto weights = Make(kSmall + std::string(type), 1);
    const ModelTensors& t = weights->tensors();
    for (const Tensor& norm : {t.final_norm, t.layers[0].attention_norm, t.layers[1].mlp_norm}) {
      for (int64_t i = 0; i < norm.cols; ++i) ASSERT_EQ(ElementOf(norm, i), 1.0f) << type;
    }
  }
}

TEST(SyntheticWeightsTest, ScalesMatricesByTheirInputs) {
  for (const char* type : {",type=f32", ",type=f16", ",type=bf16"}) {
    const auto weights = Make(kSmall + std::string(type), 1);
    for (const Tensor& t : {weights->tensors().layers[0].gate, weights->tensors().layers[0].down}) {
      const auto count = static_cast<double>(t.rows * t.cols);
      double sum = 0;
      double squares = 0;
      for (int64_t i = 0; i < t.rows * t.cols; ++i) {
        const double value = ElementOf(t, i);
        ASSERT_LE(std::abs(value), 1.01 * std::sqrt(3.0 / static_cast<double>(t.cols)));
        sum += value;
        squares += value * value;
      }
      const double wanted = 1 / static_cast<double>(t.cols);
      EXPECT_NEAR(squares / count, wanted, 0.05 * wanted) << type;
      EXPECT_NEAR(sum / count, 0, 4 * std::sqrt(wanted / count)) << type;
    }
  }
}

TEST(SyntheticWeightsTest, HasNoTwoEqualMatrices) {
  const auto weights = Make(std::string(kSmall) + ",type=f32", 1);
  const std::vector<LayerTensors>& layers = weights->tensors().layers;
  EXPECT_NE(ElementOf(layers[0].q, 0), ElementOf(layers[1].q, 0));
  EXPECT_NE(ElementOf(layers[0].k, 0), ElementOf(layers[0].v, 0));
  EXPECT_NE(ElementOf(layers[0].gate, 0), ElementOf(layers[0].up, 0));
}

// A matrix of one row is no norm.
TEST(SyntheticWeightsTest, FillsAMatrixOfOneRowWithRandomNumbers) {
  const auto weights = Make("synthetic:layers=1,hidden=16,heads=2,ffn=1,vocab=3,type=f32", 1);
  EXPECT_NE(ElementOf(weights->tensors().layers[0].gate, 0), 1.0f);
}

TEST(RandomFillTest, FillsAnyPartAsTheWhole) {
  const RandomMatrix matrix{.type = DType::kF32, .seed = 7, .inputs = 4};
  std::vector<float> whole(103);
  FillUniform(matrix, 0, 103, whole.data());
  for (const int begin : {4, 32, 100}) {
    std::vector<float> part(103 - begin);
    FillUniform(matrix, begin, 103 - begin, part.data());
    EXPECT_EQ(part, std::vector<float>(whole.begin() + begin, whole.end()));
  }
}

// The 16-bit types hold the f32 value rounded: never further away than half a unit.
TEST(RandomFillTest, RoundsToTheNearestOfA16BitType) {
  std::vector<float> exact(4096);
  std::vector<uint16_t> rounded(4096);
  for (const auto& [type, unit] :
       {std::pair(DType::kF16, 1.0f / 2048), {DType::kBF16, 1.0f / 256}}) {
    RandomMatrix matrix{.type = DType::kF32, .seed = 1, .inputs = 1};
    FillUniform(matrix, 0, 4096, exact.data());
    matrix.type = type;
    FillUniform(matrix, 0, 4096, rounded.data());
    const Tensor view{rounded.data(), type, 1, 4096};
    for (int i = 0; i < 4096; ++i) {
      const float bound = std::max(std::abs(exact[i]) * unit, std::ldexp(1.0f, -14));
      ASSERT_LE(std::abs(ElementOf(view, i) - exact[i]), bound) << NameOf(type) << " " << i;
    }
  }
}

}  // namespace
}  // namespace skipstone
