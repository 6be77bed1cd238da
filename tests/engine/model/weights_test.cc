#include "engine/model/weights.h"

#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/recording_backend.h"
#include "tests/support/temp_dir.h"

namespace skipstone {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class WeightsTest : public testing::Test {
 protected:
  absl::StatusOr<ModelTensors> Find(const TestCheckpoint& checkpoint) {
    checkpoint.WriteSingle(dir_);
    return FindIn(dir_.path());
  }

  absl::StatusOr<ModelTensors> FindIn(const std::string& dir) {
    auto config = ReadModelConfig(dir);
    EXPECT_TRUE(config.ok()) << config.status();
    auto file = Safetensors::OpenDirectory(dir);
    EXPECT_TRUE(file.ok()) << file.status();
    files_.push_back(*std::move(file));
    return FindTensors(*config, files_.back());
  }

  std::string Error(const TestCheckpoint& checkpoint) {
    const auto tensors = Find(checkpoint);
    EXPECT_EQ(tensors.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(tensors.status().message());
  }

  TempDir dir_;
  std::vector<Safetensors> files_;  // what the tensors point into
};

// Empty if the view shows exactly the test tensor's data.
std::string Difference(const Tensor& view, const TestTensor& tensor) {
  if (view.bytes() != tensor.data.size()) return tensor.name + " differs in size";
  if (std::memcmp(view.data, tensor.data.data(), view.bytes()) != 0) return tensor.name;
  return "";
}

TEST_F(WeightsTest, FindsEveryTensorInItsPlace) {
  for (const char* dtype : {"F32", "F16", "BF16"}) {
    TestCheckpoint checkpoint = TinyCheckpoint(dtype);
    const auto tensors = Find(checkpoint);
    ASSERT_TRUE(tensors.ok()) << tensors.status();
    EXPECT_STRCASEEQ(NameOf(tensors->matrix_type()), dtype);
    EXPECT_EQ(Difference(tensors->embedding, checkpoint.Find("model.embed_tokens.weight")), "");
    EXPECT_EQ(Difference(tensors->final_norm, checkpoint.Find("model.norm.weight")), "");
    EXPECT_EQ(Difference(tensors->head, checkpoint.Find("lm_head.weight")), "");
    ASSERT_EQ(tensors->layers.size(), 2);
    for (int layer = 0; layer < 2; ++layer) {
      const LayerTensors& t = tensors->layers[layer];
      const auto same = [&](const Tensor& view, const std::string& name) {
        return Difference(view, checkpoint.Find("model.layers." + std::to_string(layer) + "." +
                                                name + ".weight"));
      };
      EXPECT_EQ(same(t.attention_norm, "input_layernorm"), "");
      EXPECT_EQ(same(t.q, "self_attn.q_proj"), "");
      EXPECT_EQ(same(t.k, "self_attn.k_proj"), "");
      EXPECT_EQ(same(t.v, "self_attn.v_proj"), "");
      EXPECT_EQ(same(t.o, "self_attn.o_proj"), "");
      EXPECT_EQ(same(t.mlp_norm, "post_attention_layernorm"), "");
      EXPECT_EQ(same(t.gate, "mlp.gate_proj"), "");
      EXPECT_EQ(same(t.up, "mlp.up_proj"), "");
      EXPECT_EQ(same(t.down, "mlp.down_proj"), "");
    }
  }
}

TEST_F(WeightsTest, FindsTheSameInShards) {
  TestCheckpoint checkpoint = TinyCheckpoint();
  checkpoint.WriteSharded(dir_, 4);
  const auto tensors = FindIn(dir_.path());
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_EQ(
      Difference(tensors->layers[1].down, checkpoint.Find("model.layers.1.mlp.down_proj.weight")),
      "");
}

TEST_F(WeightsTest, TakesTheEmbeddingAsATiedHead) {
  TestCheckpoint checkpoint = TinyCheckpoint("F32", true);
  const auto tied = Find(checkpoint);
  ASSERT_TRUE(tied.ok()) << tied.status();
  EXPECT_EQ(tied->head.data, tied->embedding.data);
  // Some writers store the head all the same.
  checkpoint.tensors.push_back(
      MakeTestTensor("lm_head.weight", "F32", {checkpoint.shape.vocab, checkpoint.shape.hidden}));
  const auto stored = Find(checkpoint);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(stored->head.data, stored->embedding.data);
}

TEST_F(WeightsTest, RefusesEveryMissingTensorByName) {
  const TestCheckpoint whole = TinyCheckpoint();
  for (const TestTensor& tensor : whole.tensors) {
    TestCheckpoint checkpoint = whole;
    checkpoint.Remove(tensor.name);
    EXPECT_THAT(Error(checkpoint), HasSubstr("'" + tensor.name + "' is missing"));
  }
}

TEST_F(WeightsTest, RefusesEveryWrongShapeByName) {
  const TestCheckpoint whole = TinyCheckpoint();
  for (const TestTensor& tensor : whole.tensors) {
    TestCheckpoint checkpoint = whole;
    std::vector<int64_t> shape = tensor.shape;
    ++shape[0];
    checkpoint.Find(tensor.name) = MakeTestTensor(tensor.name, "F32", shape);
    EXPECT_THAT(Error(checkpoint), AllOf(HasSubstr(tensor.name), HasSubstr("has shape [")));
  }
}

TEST_F(WeightsTest, RefusesATransposedMatrixAndNamesBothShapes) {
  TestCheckpoint checkpoint = TinyCheckpoint();
  checkpoint.Find("model.layers.0.mlp.up_proj.weight").shape = {16, 24};
  EXPECT_THAT(Error(checkpoint),
              HasSubstr("'model.layers.0.mlp.up_proj.weight' has shape [16, 24], config.json says "
                        "[24, 16]"));
}

TEST_F(WeightsTest, RefusesAConfigurationThatContradictsTheTensors) {
  TestCheckpoint checkpoint = TinyCheckpoint();
  checkpoint.shape.num_layers = 3;
  EXPECT_THAT(Error(checkpoint), HasSubstr("'model.layers.2.input_layernorm.weight' is missing; "
                                           "config.json says 3 layers"));
  checkpoint.shape.num_layers = 1;
  EXPECT_THAT(Error(checkpoint), AllOf(HasSubstr("model.layers.1."), HasSubstr("1 layers")));
  checkpoint.shape.num_layers = 2;
  checkpoint.shape.kv_heads = 2;
  EXPECT_THAT(Error(checkpoint), HasSubstr("self_attn.k_proj.weight' has shape [8, 16]"));
}

TEST_F(WeightsTest, RefusesTensorsThatAreNoPartOfTheArchitecture) {
  for (const char* name : {"model.layers.0.self_attn.q_proj.bias", "model.extra.weight",
                           "model.layers.2.mlp.up_proj.weight"}) {
    TestCheckpoint checkpoint = TinyCheckpoint();
    checkpoint.tensors.push_back(MakeTestTensor(name, "F32", {4}));
    EXPECT_THAT(Error(checkpoint),
                HasSubstr("'" + std::string(name) + "' is no part of a Llama 2 model of 2 layers"));
  }
}

TEST_F(WeightsTest, IgnoresStoredRopeFrequencies) {
  TestCheckpoint checkpoint = TinyCheckpoint("F16");
  checkpoint.tensors.push_back(
      MakeTestTensor("model.layers.0.self_attn.rotary_emb.inv_freq", "F16", {4}));
  EXPECT_TRUE(Find(checkpoint).ok());
}

TEST_F(WeightsTest, TakesNormsOfAnotherTypeButNotMatrices) {
  TestCheckpoint checkpoint = TinyCheckpoint("BF16");
  checkpoint.Find("model.norm.weight") = MakeTestTensor("model.norm.weight", "F32", {16});
  const auto tensors = Find(checkpoint);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_EQ(tensors->final_norm.type, DType::kF32);
  EXPECT_EQ(tensors->matrix_type(), DType::kBF16);
  checkpoint.Find("lm_head.weight") = MakeTestTensor("lm_head.weight", "F16", {11, 16});
  EXPECT_THAT(Error(checkpoint),
              AllOf(HasSubstr("'lm_head.weight' has type f16"), HasSubstr("the embedding bf16")));
}

TEST_F(WeightsTest, HandsGroupsThatShareAnInputToTheBackend) {
  const auto tensors = Find(TinyCheckpoint());
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  RecordingBackend backend;
  const auto weights = LoadWeights(*tensors, backend);
  ASSERT_TRUE(weights.ok()) << weights.status();
  ASSERT_EQ(weights->layers.size(), 2);
  const auto pointers = [&](WeightId id) {
    std::vector<const void*> data;
    for (const Tensor& tensor : backend.groups.at(id.index)) data.push_back(tensor.data);
    return data;
  };
  using Pointers = std::vector<const void*>;
  EXPECT_EQ(pointers(weights->embedding), Pointers{tensors->embedding.data});
  EXPECT_EQ(pointers(weights->final_norm), Pointers{tensors->final_norm.data});
  EXPECT_EQ(pointers(weights->head), Pointers{tensors->head.data});
  for (int layer = 0; layer < 2; ++layer) {
    const LayerTensors& t = tensors->layers[layer];
    const LayerWeights& w = weights->layers[layer];
    EXPECT_EQ(pointers(w.attention_norm), Pointers{t.attention_norm.data});
    EXPECT_EQ(pointers(w.qkv), (Pointers{t.q.data, t.k.data, t.v.data}));
    EXPECT_EQ(pointers(w.o), Pointers{t.o.data});
    EXPECT_EQ(pointers(w.mlp_norm), Pointers{t.mlp_norm.data});
    EXPECT_EQ(pointers(w.gate_up), (Pointers{t.gate.data, t.up.data}));
    EXPECT_EQ(pointers(w.down), Pointers{t.down.data});
  }
}

TEST_F(WeightsTest, HandsATiedHeadOverOnce) {
  const auto tensors = Find(TinyCheckpoint("F32", true));
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  RecordingBackend backend;
  const auto weights = LoadWeights(*tensors, backend);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->head.index, weights->embedding.index);
  EXPECT_EQ(backend.groups.size(), 1 + 2 * 6 + 1);
}

TEST_F(WeightsTest, PassesOnTheBackendsRefusalOfAnyGroup) {
  const auto tensors = Find(TinyCheckpoint());
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  for (int groups = 0; groups < 1 + 2 * 6 + 2; ++groups) {
    RecordingBackend backend;
    backend.groups_until_failure = groups;
    EXPECT_EQ(LoadWeights(*tensors, backend).status(),
              absl::ResourceExhaustedError("no memory for weights"))
        << groups;
  }
}

}  // namespace
}  // namespace skipstone
