#include "engine/model/weights.h"

#include <cstring>
#include <string>
#include <vector>

#include "engine/backend/widen.h"
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
  TestTensor head = checkpoint.Find("model.embed_tokens.weight");
  head.name = "lm_head.weight";
  checkpoint.tensors.push_back(head);
  const auto stored = Find(checkpoint);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(stored->head.data, stored->embedding.data);
}

// Which of the two counts would be a guess.
TEST_F(WeightsTest, RefusesATiedHeadThatDiffersFromTheEmbedding) {
  TestCheckpoint checkpoint = TinyCheckpoint("F32", true);
  TestTensor head = checkpoint.Find("model.embed_tokens.weight");
  head.name = "lm_head.weight";
  head.data.back() = static_cast<char>(head.data.back() ^ 1);
  checkpoint.tensors.push_back(head);
  EXPECT_THAT(Error(checkpoint), AllOf(HasSubstr("'lm_head.weight' differs from "
                                                 "'model.embed_tokens.weight'"),
                                       HasSubstr("tie_word_embeddings")));
  checkpoint.tensors.back().shape = {checkpoint.shape.hidden, checkpoint.shape.vocab};
  EXPECT_THAT(Error(checkpoint), HasSubstr("'lm_head.weight' has shape"));
}

TEST_F(WeightsTest, ComparesATiedHeadOfAnotherTypeByItsValues) {
  for (const char* dtype : {"BF16", "F16"}) {
    TestCheckpoint checkpoint = TinyCheckpoint(dtype, true);
    TestTensor& embedding = checkpoint.Find("model.embed_tokens.weight");
    TestTensor head{"lm_head.weight", "F32", embedding.shape, ""};
    for (size_t i = 0; i < embedding.data.size() / 2; ++i) {
      auto bits =
          static_cast<uint16_t>(i % 2 == 0 ? 0x3c00 + i : i);  // also below the normal range
      std::memcpy(embedding.data.data() + 2 * i, &bits, 2);
      const float value =
          ElementAt(&bits, dtype == std::string("F16") ? DType::kF16 : DType::kBF16, 0);
      head.data.append(reinterpret_cast<const char*>(&value), 4);
    }
    checkpoint.tensors.push_back(head);
    EXPECT_TRUE(Find(checkpoint).ok());
    checkpoint.tensors.back().data[3] ^= 0x40;
    EXPECT_THAT(Error(checkpoint), HasSubstr("'lm_head.weight' differs"));
  }
}

TEST_F(WeightsTest, TakesTheHeadOfATiedModelWithoutAnEmbeddingForBoth) {
  TestCheckpoint checkpoint = TinyCheckpoint("BF16", true);
  checkpoint.Find("model.embed_tokens.weight").name = "lm_head.weight";
  const auto tensors = Find(checkpoint);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_EQ(Difference(tensors->embedding, checkpoint.Find("lm_head.weight")), "");
  EXPECT_EQ(tensors->head.data, tensors->embedding.data);
  checkpoint.tied_head = false;
  EXPECT_THAT(Error(checkpoint), HasSubstr("'model.embed_tokens.weight' is missing"));
  checkpoint.tied_head = true;
  checkpoint.Remove("lm_head.weight");
  EXPECT_THAT(Error(checkpoint), HasSubstr("'model.embed_tokens.weight' is missing"));
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

TEST_F(WeightsTest, NamesTheDefaultsThatContradictTheTensors) {
  TestCheckpoint checkpoint = TinyCheckpoint();
  checkpoint.WriteSingle(dir_);
  std::string config = checkpoint.ConfigJson();
  config.replace(config.find("vocab_size"), 10, "vocab_gone");
  dir_.Write("config.json", config);
  EXPECT_THAT(std::string(FindIn(dir_.path()).status().message()),
              AllOf(HasSubstr("has shape [11, 16], config.json says [32000, 16]"),
                    HasSubstr("config.json lacks vocab_size")));
}

TEST_F(WeightsTest, IgnoresStoredRotationsOfEveryTypeWhereverTheyStand) {
  TestCheckpoint checkpoint = TinyCheckpoint("F16");
  const auto add = [&](const std::string& prefix, const std::string& name, const char* dtype,
                       int64_t bytes) {
    checkpoint.tensors.push_back(
        {prefix + "rotary_emb." + name, dtype, {3}, std::string(bytes, 1)});
  };
  int layer = 0;
  for (const char* name : {"inv_freq", "original_inv_freq", "cos_cached", "sin_cached"}) {
    const std::string prefix = "model.layers." + std::to_string(layer++ % 2) + ".self_attn.";
    add(prefix, name, "F16", 6);
    add("model.", name, "F64", 24);
    add("", name, "BOOL", 3);
  }
  EXPECT_TRUE(Find(checkpoint).ok());
  checkpoint.tensors.push_back({"model.rotary_emb.other", "F16", {1}, "12"});
  EXPECT_THAT(Error(checkpoint), HasSubstr("'model.rotary_emb.other' is no part"));
}

TEST_F(WeightsTest, RefusesTensorsOfTypesThatAreNotServedByName) {
  const TestCheckpoint whole = TinyCheckpoint();
  for (const TestTensor& tensor : whole.tensors) {
    TestCheckpoint checkpoint = whole;
    checkpoint.Find(tensor.name).dtype = "I32";
    EXPECT_THAT(Error(checkpoint),
                HasSubstr("'" + tensor.name + "' has dtype 'I32', which is not served; F32, F16"));
  }
}

TEST_F(WeightsTest, TakesEachTensorInItsOwnType) {
  TestCheckpoint checkpoint = TinyCheckpoint("BF16");
  checkpoint.Find("model.norm.weight") = MakeTestTensor("model.norm.weight", "F32", {16});
  const auto tensors = Find(checkpoint);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_EQ(tensors->final_norm.type, DType::kF32);
  EXPECT_EQ(tensors->matrix_type(), DType::kBF16);
  checkpoint.Find("lm_head.weight") = MakeTestTensor("lm_head.weight", "F16", {11, 16});
  checkpoint.Find("model.embed_tokens.weight") =
      MakeTestTensor("model.embed_tokens.weight", "F32", {11, 16});
  const std::string v = "model.layers.1.self_attn.v_proj.weight";
  checkpoint.Find(v) = MakeTestTensor(v, "F32", {8, 16});
  const auto mixed = Find(checkpoint);
  ASSERT_TRUE(mixed.ok()) << mixed.status();
  EXPECT_EQ(mixed->head.type, DType::kF16);
  EXPECT_EQ(mixed->embedding.type, DType::kF32);
  EXPECT_EQ(mixed->layers[1].v.type, DType::kF32);
  EXPECT_EQ(mixed->layers[1].k.type, DType::kBF16);
  EXPECT_EQ(Difference(mixed->layers[1].v, checkpoint.Find(v)), "");
  EXPECT_EQ(mixed->matrix_type(), DType::kBF16) << "most of them";
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
