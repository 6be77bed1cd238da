#include "engine/model/config.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace skipstone {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// What Llama 2 7B's config.json says, as far as it matters.
json Llama7b() {
  return {{"model_type", "llama"},
          {"hidden_act", "silu"},
          {"hidden_size", 4096},
          {"intermediate_size", 11008},
          {"max_position_embeddings", 4096},
          {"num_attention_heads", 32},
          {"num_hidden_layers", 32},
          {"num_key_value_heads", 32},
          {"rms_norm_eps", 1e-05},
          {"rope_scaling", nullptr},
          {"tie_word_embeddings", false},
          {"bos_token_id", 1},
          {"eos_token_id", 2},
          {"vocab_size", 32000}};
}

json Llama7bWith(const std::string& key, const json& value) {
  json config = Llama7b();
  config[key] = value;
  return config;
}

json Llama7bWithout(const std::string& key) {
  json config = Llama7b();
  config.erase(key);
  return config;
}

absl::StatusOr<ModelConfig> Parse(const json& config, const std::string& generation = "") {
  return ParseModelConfig(config.dump(), generation);
}

std::string ErrorOf(const absl::StatusOr<ModelConfig>& config) {
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(config.status().message());
}

// layers, hidden, heads, KV heads, head_dim, ffn, vocabulary, context
std::vector<int> Numbers(const ModelShape& s) {
  return {s.num_layers, s.hidden, s.heads, s.kv_heads, s.head_dim, s.ffn, s.vocab, s.max_context};
}

TEST(ModelConfigTest, ReadsLlama7b) {
  const auto config = Parse(Llama7b());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(Numbers(config->shape), ElementsAre(32, 4096, 32, 32, 128, 11008, 32000, 4096));
  EXPECT_FLOAT_EQ(config->shape.norm_epsilon, 1e-5f);
  EXPECT_FLOAT_EQ(config->shape.rope_theta, 10000.0f);
  EXPECT_FALSE(config->tied_head);
  EXPECT_EQ(config->bos_id, 1);
  EXPECT_THAT(config->eos_ids, ElementsAre(2));
}

TEST(ModelConfigTest, ReadsGroupedQueriesAsIn70b) {
  json config = Llama7b();
  config.update({{"hidden_size", 8192},
                 {"intermediate_size", 28672},
                 {"num_attention_heads", 64},
                 {"num_hidden_layers", 80},
                 {"num_key_value_heads", 8}});
  EXPECT_THAT(Numbers(Parse(config)->shape), ElementsAre(80, 8192, 64, 8, 128, 28672, 32000, 4096));
}

// As in TinyLlama-1.1B, written by a newer library: head_dim and biases are spelled out.
TEST(ModelConfigTest, ReadsTheFormOfNewerWriters) {
  json config = Llama7b();
  config.update({{"hidden_size", 2048},
                 {"intermediate_size", 5632},
                 {"max_position_embeddings", 2048},
                 {"num_hidden_layers", 22},
                 {"num_key_value_heads", 4},
                 {"head_dim", 64},
                 {"attention_bias", false},
                 {"mlp_bias", false},
                 {"attention_dropout", 0.0},
                 {"dtype", "float32"}});
  EXPECT_THAT(Numbers(Parse(config)->shape), ElementsAre(22, 2048, 32, 4, 64, 5632, 32000, 2048));
}

struct Published {
  const char* name;
  std::vector<int> numbers;
};

TEST(ModelConfigTest, ReadsPublishedConfigurations) {
  const std::string root = SharedDataPath("hf-configs");
  if (root.empty()) GTEST_SKIP() << "no published configurations beside the source tree";
  const Published published[] = {
      {"Llama-2-7b-hf", {32, 4096, 32, 32, 128, 11008, 32000, 4096}},
      {"Llama-2-7b-chat-hf", {32, 4096, 32, 32, 128, 11008, 32000, 4096}},
      {"Llama-2-13b-hf", {40, 5120, 40, 40, 128, 13824, 32000, 4096}},
      {"Llama-2-70b-chat-hf", {80, 8192, 64, 8, 128, 28672, 32000, 4096}},
      {"Llama-2-1.3b-hf", {24, 2048, 16, 16, 128, 5504, 32000, 4096}},
      {"llama2-7b-finetune", {32, 4096, 32, 32, 128, 11008, 32000, 2048}},
      {"TinyLlama-1.1B-Chat-v1.0", {22, 2048, 32, 4, 64, 5632, 32000, 2048}},
  };
  for (const Published& model : published) {
    const auto config = ReadModelConfig(root + "/" + model.name);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(Numbers(config->shape), model.numbers) << model.name;
    EXPECT_FALSE(config->tied_head);
    EXPECT_EQ(config->bos_id, 1);
    EXPECT_THAT(config->eos_ids, ElementsAre(2));
  }
}

TEST(ModelConfigTest, HasAsManyKvHeadsAsHeadsWhereTheKeyIsMissing) {
  EXPECT_EQ(Parse(Llama7bWithout("num_key_value_heads"))->shape.kv_heads, 32);
  EXPECT_EQ(Parse(Llama7bWith("num_key_value_heads", nullptr))->shape.kv_heads, 32);
}

// The defaults of the library that writes these files.
TEST(ModelConfigTest, TakesTheFormatsDefaultsForMissingKeys) {
  EXPECT_FLOAT_EQ(Parse(Llama7bWithout("rms_norm_eps"))->shape.norm_epsilon, 1e-6f);
  EXPECT_FALSE(Parse(Llama7bWithout("tie_word_embeddings"))->tied_head);
  EXPECT_TRUE(Parse(Llama7bWithout("hidden_act")).ok());
  EXPECT_EQ(Parse(Llama7bWithout("bos_token_id"))->bos_id, 1);
  EXPECT_THAT(Parse(Llama7bWithout("eos_token_id"))->eos_ids, ElementsAre(2));
  EXPECT_THAT(Parse(Llama7bWithout("eos_token_id"), R"({"eos_token_id": 9})")->eos_ids,
              ElementsAre(9));
  EXPECT_EQ(Parse(Llama7bWithout("max_position_embeddings"))->shape.max_context, 2048);
  const auto bare = Parse({{"model_type", "llama"}});
  ASSERT_TRUE(bare.ok()) << bare.status();
  EXPECT_THAT(Numbers(bare->shape), ElementsAre(32, 4096, 32, 32, 128, 11008, 32000, 2048));
  EXPECT_FLOAT_EQ(bare->shape.rope_theta, 10000.0f);
  EXPECT_THAT(bare->defaulted,
              ElementsAre("num_hidden_layers", "hidden_size", "num_attention_heads",
                          "intermediate_size", "vocab_size"));
  EXPECT_THAT(Parse(Llama7b())->defaulted, IsEmpty());
}

// null says that there is none; an absent key says nothing.
TEST(ModelConfigTest, ANullTokenIsNone) {
  EXPECT_EQ(Parse(Llama7bWith("bos_token_id", nullptr))->bos_id, std::nullopt);
  EXPECT_THAT(Parse(Llama7bWith("eos_token_id", nullptr))->eos_ids, IsEmpty());
  EXPECT_THAT(Parse(Llama7bWith("eos_token_id", json::array()))->eos_ids, IsEmpty());
  EXPECT_THAT(Parse(Llama7b(), R"({"eos_token_id": null})")->eos_ids, IsEmpty());
  EXPECT_THAT(Parse(Llama7bWith("eos_token_id", nullptr), R"({"eos_token_id": 7})")->eos_ids,
              ElementsAre(7));
}

TEST(ModelConfigTest, HasNoDefaultTokensThatTheVocabularyLacks) {
  json config = Llama7bWith("vocab_size", 2);
  config.erase("bos_token_id");
  config.erase("eos_token_id");
  EXPECT_EQ(Parse(config)->bos_id, 1);
  EXPECT_THAT(Parse(config)->eos_ids, IsEmpty());
  config["vocab_size"] = 1;
  EXPECT_EQ(Parse(config)->bos_id, std::nullopt);
}

TEST(ModelConfigTest, ReadsATiedHead) {
  EXPECT_TRUE(Parse(Llama7bWith("tie_word_embeddings", true))->tied_head);
}

TEST(ModelConfigTest, ReadsRopeThetaInEitherPlace) {
  EXPECT_FLOAT_EQ(Parse(Llama7bWith("rope_theta", 1e6))->shape.rope_theta, 1e6f);
  const json nested = {{"rope_type", "default"}, {"rope_theta", 5e5}};
  EXPECT_FLOAT_EQ(Parse(Llama7bWith("rope_parameters", nested))->shape.rope_theta, 5e5f);
}

// As transformers 5: the place within wins, and rope_scaling stands for rope_parameters.
TEST(ModelConfigTest, TakesTheNestedRopeThetaBeforeTheOneBesideIt) {
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    for (const char* type : {"rope_type", "type"}) {
      json config = Llama7bWith("rope_theta", 1e4);
      config[key] = {{type, "default"}, {"rope_theta", 5e5}};
      EXPECT_FLOAT_EQ(Parse(config)->shape.rope_theta, 5e5f) << key;
      config[key].erase("rope_theta");
      EXPECT_FLOAT_EQ(Parse(config)->shape.rope_theta, 1e4f) << key;
      config[key]["rope_theta"] = nullptr;
      EXPECT_FLOAT_EQ(Parse(config)->shape.rope_theta, 1e4f) << key;
    }
  }
  json both = Llama7bWith("rope_scaling", {{"rope_type", "default"}, {"rope_theta", 3e4}});
  both["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 3e4}};
  EXPECT_FLOAT_EQ(Parse(both)->shape.rope_theta, 3e4f);
  both["rope_parameters"]["rope_theta"] = 4e4;
  EXPECT_THAT(ErrorOf(Parse(both)),
              AllOf(HasSubstr("rope_parameters: rope_theta is 40000"), HasSubstr("30000")));
}

TEST(ModelConfigTest, TakesEndTokensFromTheGenerationConfigFirst) {
  EXPECT_THAT(Parse(Llama7b(), R"({"eos_token_id": 7})")->eos_ids, ElementsAre(7));
  EXPECT_THAT(Parse(Llama7b(), R"({"eos_token_id": [2, 31999]})")->eos_ids, ElementsAre(2, 31999));
  EXPECT_THAT(Parse(Llama7b(), R"({"temperature": 0.9})")->eos_ids, ElementsAre(2));
  EXPECT_THAT(Parse(Llama7bWith("eos_token_id", {3, 4}))->eos_ids, ElementsAre(3, 4));
}

TEST(ModelConfigTest, TakesPlainRopeUnderEachOfItsNames) {
  for (const char* rope : {R"({"type": "default"})", R"({"rope_type": "default"})",
                           R"({"type": "linear", "factor": 1.0})", R"({"factor": 1.0})", "{}",
                           R"({"rope_type": "default", "partial_rotary_factor": 1.0})",
                           R"({"type": "default", "original_max_position_embeddings": 4096})",
                           R"({"rope_type": "default", "attention_factor": null})"}) {
    EXPECT_TRUE(Parse(Llama7bWith("rope_scaling", json::parse(rope))).ok()) << rope;
    EXPECT_TRUE(Parse(Llama7bWith("rope_parameters", json::parse(rope))).ok()) << rope;
  }
}

struct Refused {
  const char* key;
  const char* value;
  const char* why;
};

constexpr Refused kOtherArithmetic[] = {
    {"model_type", R"("mistral")", "only \"llama\" is served"},
    {"model_type", "null", "only \"llama\" is served"},
    {"hidden_act", R"("gelu")", "only \"silu\" is served"},
    {"attention_bias", "true", "bias"},
    {"mlp_bias", "true", "bias"},
    {"sliding_window", "4096", "only null is"},
    {"quantization_config", R"({"quant_method": "gptq"})", "only null is"},
    {"partial_rotary_factor", "0.5", "only 1 is served"},
    {"rope_scaling", R"({"type": "linear", "factor": 2.0})", "type 'linear' with factor 2"},
    {"rope_parameters", R"({"rope_type": "linear", "factor": 2.0})", "type 'linear' with factor 2"},
    {"rope_scaling", R"({"type": "dynamic", "factor": 2.0})", "type 'dynamic'"},
    {"rope_scaling", R"({"rope_type": "llama3", "factor": 8.0})", "type 'llama3'"},
    {"rope_scaling", R"({"type": "default", "rope_type": "yarn"})", "type 'yarn'"},
    {"rope_parameters", R"({"rope_type": "llama3", "rope_theta": 500000.0})", "type 'llama3'"},
    {"rope_parameters", R"({"rope_type": "default", "type": "yarn"})", "type 'yarn'"},
    {"rope_parameters", R"({"rope_type": "default", "factor": 4.0})", "with factor 4"},
    {"rope_parameters", R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor is 0.5"},
    {"rope_scaling", R"({"rope_type": "default", "partial_rotary_factor": 0.25})", "only 1 is"},
    {"rope_parameters", R"({"full_attention": {"rope_type": "default", "rope_theta": 1e6}})",
     "full_attention is an object: only plain RoPE is served, of one kind"},
    {"rope_scaling", R"({"type": "default", "attention_factor": 1.2})", "attention_factor is 1.2"},
    {"rope_parameters", R"({"rope_theta": 0.5})", "rope_theta is 0.5: a number from"},
};

TEST(ModelConfigTest, RefusesWhatChangesTheArithmeticByItsKey) {
  for (const Refused& refused : kOtherArithmetic) {
    EXPECT_THAT(ErrorOf(Parse(Llama7bWith(refused.key, json::parse(refused.value)))),
                AllOf(HasSubstr("config.json"), HasSubstr(refused.key), HasSubstr(refused.why)))
        << refused.value;
  }
}

constexpr Refused kWrongValues[] = {
    {"num_hidden_layers", "0", "an integer from 1 to 128"},
    {"num_hidden_layers", "129", "an integer from 1 to 128"},
    {"num_hidden_layers", "null", "is null: an integer from 1 to 128"},
    {"vocab_size", "null", "is null: an integer"},
    {"max_position_embeddings", "null", "is null: an integer"},
    {"num_hidden_layers", "-1", "an integer"},
    {"num_hidden_layers", R"("32")", "an integer"},
    {"num_hidden_layers", "32.0", "an integer"},
    {"num_hidden_layers", "[32]", "is an array"},
    {"num_hidden_layers", "true", "an integer"},
    {"num_hidden_layers", "18446744073709551615", "an integer"},
    {"num_hidden_layers", "1e9", "an integer"},
    {"hidden_size", "1000000000", "an integer"},
    {"hidden_size", "4294967296", "an integer"},
    {"hidden_size", "4100", "not divisible by num_attention_heads 32"},
    {"hidden_size", "128", "head_dim 4 is not a multiple of 8"},
    {"num_attention_heads", "100000", "an integer"},
    {"num_key_value_heads", "5", "not divisible by num_key_value_heads 5"},
    {"num_key_value_heads", "64", "num_attention_heads 32 is not divisible"},
    {"head_dim", "12", "head_dim 12 is not a multiple of 8"},
    {"intermediate_size", "{}", "is an object"},
    {"vocab_size", "0", "an integer"},
    {"max_position_embeddings", "4194305", "an integer"},
    {"rms_norm_eps", R"("1e-5")", "a number"},
    {"rms_norm_eps", "0", "a number from"},
    {"rms_norm_eps", "-1e-5", "a number from"},
    {"rope_theta", "0", "a number from"},
    {"rope_theta", "true", "a number from"},
    {"rope_scaling", R"("linear")", "an object is needed"},
    {"rope_scaling", R"({"type": 3})", "a string is needed"},
    {"rope_scaling", R"({"factor": "8"})", "a number"},
    {"tie_word_embeddings", "1", "true or false"},
    {"attention_bias", R"("no")", "true or false"},
    {"model_type", "7", "a string is needed"},
    {"bos_token_id", "32000", "an integer from 0 to 31999"},
    {"bos_token_id", "-1", "an integer from 0 to 31999"},
    {"eos_token_id", "32000", "an integer from 0 to 31999"},
    {"eos_token_id", R"([2, "3"])", "list of such"},
    {"eos_token_id", "[2, -1]", "list of such"},
};

TEST(ModelConfigTest, RefusesWrongValuesByTheirKey) {
  for (const Refused& refused : kWrongValues) {
    // As text, so that 32.0 and 1e9 stay as they are written.
    std::string text = Llama7bWith(refused.key, "VALUE").dump();
    text.replace(text.find("\"VALUE\""), 7, refused.value);
    EXPECT_THAT(ErrorOf(ParseModelConfig(text, "")),
                AllOf(HasSubstr("config.json"), HasSubstr(refused.key), HasSubstr(refused.why)))
        << text;
  }
}

// Of an architecture alone there is no default.
TEST(ModelConfigTest, RefusesAMissingModelTypeByName) {
  EXPECT_THAT(ErrorOf(Parse(Llama7bWithout("model_type"))), HasSubstr("model_type"));
}

TEST(ModelConfigTest, RefusesTextThatIsNoJsonObject) {
  for (const char* text : {"", "{", "[]", "3", "null", "{\"a\": \"\xff\"}", "{} {}", "{'a': 1}"}) {
    EXPECT_THAT(ErrorOf(ParseModelConfig(text, "")), HasSubstr("config.json is not")) << text;
  }
  EXPECT_THAT(ErrorOf(ParseModelConfig(Llama7b().dump(), "[")),
              HasSubstr("generation_config.json is not JSON"));
}

TEST(ModelConfigTest, NamesTheGenerationConfigWhereItIsWrong) {
  EXPECT_THAT(ErrorOf(Parse(Llama7b(), R"({"eos_token_id": "</s>"})")),
              AllOf(HasSubstr("generation_config.json"), HasSubstr("eos_token_id")));
}

// Nesting deeper than any stack: nothing may recurse over it, neither reading nor the message.
TEST(ModelConfigTest, SurvivesNestingOfAnyDepth) {
  const std::string deep = std::string(1000000, '[') + std::string(1000000, ']');
  for (const char* form : {R"("hidden_size": %)", R"("rope_scaling": {"type": "yarn", "a": %})",
                           R"("eos_token_id": [%])", R"("unknown": %)"}) {
    std::string text = Llama7b().dump();
    std::string field = form;
    field.replace(field.find('%'), 1, deep);
    text.insert(text.size() - 1, "," + field);
    const auto config = ParseModelConfig(text, "");
    EXPECT_EQ(config.ok(), std::string_view(form).starts_with("\"unknown")) << form;
    EXPECT_LT(config.status().message().size(), 500) << form;
  }
}

TEST(ModelConfigTest, ReadsADirectoryWithAndWithoutAGenerationConfig) {
  TempDir dir;
  dir.Write("config.json", Llama7b().dump());
  EXPECT_THAT(ReadModelConfig(dir.path())->eos_ids, ElementsAre(2));
  dir.Write("generation_config.json", R"({"eos_token_id": [5, 6]})");
  EXPECT_THAT(ReadModelConfig(dir.path())->eos_ids, ElementsAre(5, 6));
}

TEST(ModelConfigTest, NamesTheDirectoryInErrors) {
  TempDir dir;
  EXPECT_EQ(ReadModelConfig(dir.path()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(ReadModelConfig(dir.path()).status().message()),
              HasSubstr(dir.path() + "/config.json"));
  dir.Write("config.json", Llama7bWith("hidden_size", "4096").dump());
  EXPECT_THAT(ErrorOf(ReadModelConfig(dir.path())),
              AllOf(HasSubstr(dir.path()), HasSubstr("hidden_size")));
}

TEST(ModelConfigTest, RefusesAConfigThatIsNoFile) {
  TempDir dir;
  std::filesystem::create_directory(dir.path() + "/config.json");
  EXPECT_THAT(ErrorOf(ReadModelConfig(dir.path())), HasSubstr("is not a regular file"));
}

}  // namespace
}  // namespace skipstone
