#include "engine/model/config.h"

#include <filesystem>
#include <set>
#include <system_error>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/model/json_fields.h"

namespace skipstone {
namespace {

constexpr int32_t kDefaultBos = 1;
constexpr int32_t kDefaultEos = 2;

// Scaled RoPE changes the angles. What remains is the plain form under one of its names, in
// either dictionary, and nothing beside it that would ask for more.
absl::Status RefuseScaledRope(const JsonFields& config, const std::string& key) {
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields rope, config.Object(key));
  SKIPSTONE_ASSIGN_OR_RETURN(std::string old_type, rope.String("type", "default"));
  SKIPSTONE_ASSIGN_OR_RETURN(std::string type, rope.String("rope_type", old_type));
  SKIPSTONE_ASSIGN_OR_RETURN(double factor, rope.Number("factor", 0, 1e9, 1.0));
  const auto plain = [](const std::string& name) { return name == "default" || name == "linear"; };
  const std::string& worse = type == "default" || !plain(old_type) ? old_type : type;
  if (!plain(worse) || factor != 1.0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "config.json: %s of type '%s' with factor %g: scaled RoPE is not served, only null", key,
        worse, factor));
  }
  SKIPSTONE_ASSIGN_OR_RETURN(double rotary, rope.Number("partial_rotary_factor", 0, 1, 1.0));
  if (rotary != 1.0) return rope.Error("partial_rotary_factor", "only 1 is served");
  static const std::set<std::string> kPlainKeys = {
      "type",   "rope_type",  "partial_rotary_factor",
      "factor", "rope_theta", "original_max_position_embeddings"};
  for (const std::string& name : rope.Keys()) {
    if (!rope.Has(name) || kPlainKeys.contains(name)) continue;
    return rope.Error(name, "only plain RoPE is served, of one kind in all layers");
  }
  return absl::OkStatus();
}

// What other architectures of the Llama family add and this one does not compute.
absl::Status RefuseOtherArchitectures(const JsonFields& config) {
  SKIPSTONE_ASSIGN_OR_RETURN(std::string model_type, config.String("model_type", ""));
  if (model_type != "llama") return config.Error("model_type", "only \"llama\" is served");
  SKIPSTONE_ASSIGN_OR_RETURN(std::string activation, config.String("hidden_act", "silu"));
  if (activation != "silu") return config.Error("hidden_act", "only \"silu\" is served");
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    SKIPSTONE_ASSIGN_OR_RETURN(bool bias, config.Bool(key, false));
    if (bias) return config.Error(key, "projections with bias are not served");
  }
  for (const char* key : {"sliding_window", "quantization_config"}) {
    if (config.Has(key)) return config.Error(key, "it is not served; only null is");
  }
  SKIPSTONE_ASSIGN_OR_RETURN(double rotary, config.Number("partial_rotary_factor", 0, 1, 1.0));
  if (rotary != 1.0) return config.Error("partial_rotary_factor", "only 1 is served");
  SKIPSTONE_RETURN_IF_ERROR(RefuseScaledRope(config, "rope_scaling"));
  return RefuseScaledRope(config, "rope_parameters");
}

// As transformers 5 reads it: rope_scaling stands for rope_parameters if it has anything, and a
// rope_theta within wins over the one beside it.
absl::StatusOr<double> RopeTheta(const JsonFields& config) {
  constexpr double kMost = 1e12;
  SKIPSTONE_ASSIGN_OR_RETURN(double theta, config.Number("rope_theta", 1, kMost, 10000.0));
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields parameters, config.Object("rope_parameters"));
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields scaling, config.Object("rope_scaling"));
  if (scaling.Keys().empty()) return parameters.Number("rope_theta", 1, kMost, theta);
  SKIPSTONE_ASSIGN_OR_RETURN(theta, scaling.Number("rope_theta", 1, kMost, theta));
  SKIPSTONE_ASSIGN_OR_RETURN(double other, parameters.Number("rope_theta", 1, kMost, theta));
  if (other == theta) return theta;
  return parameters.Error("rope_theta",
                          absl::StrFormat("rope_scaling stands too and means %g", theta));
}

absl::Status ParseShape(const JsonFields& config, ModelConfig* model) {
  const auto size = [&](const char* key, int max, int absent) -> absl::StatusOr<int64_t> {
    if (config.Contains(key)) return config.Int(key, 1, max);
    model->defaulted.push_back(key);
    return absent;
  };
  ModelShape& shape = model->shape;
  SKIPSTONE_ASSIGN_OR_RETURN(shape.num_layers, size("num_hidden_layers", kMaxServedLayers, 32));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.hidden, size("hidden_size", kMaxServedHidden, 4096));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.heads, size("num_attention_heads", kMaxServedHeads, 32));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.kv_heads,
                             config.Int("num_key_value_heads", 1, kMaxServedHeads, shape.heads));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.head_dim, config.Int("head_dim", 1, kMaxServedHeadDim, 0));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.ffn, size("intermediate_size", kMaxServedFfn, 11008));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.vocab, size("vocab_size", kMaxServedVocab, 32000));
  constexpr char kContext[] = "max_position_embeddings";
  SKIPSTONE_ASSIGN_OR_RETURN(shape.max_context, config.Contains(kContext)
                                                    ? config.Int(kContext, 1, kMaxServedContext)
                                                    : absl::StatusOr<int64_t>(2048));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.norm_epsilon, config.Number("rms_norm_eps", 1e-12, 0.1, 1e-6));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.rope_theta, RopeTheta(config));
  return CompleteShape("config.json", &shape);
}

// What a folder that is given as a model must be, before anything of it is read.
absl::Status CheckModelFolder(const std::string& dir) {
  constexpr char kServed[] =
      "a model is a Hugging Face folder with config.json, *.safetensors, and tokenizer.model or "
      "tokenizer.json; GGUF files are not served";
  std::error_code error;
  if (!std::filesystem::exists(dir, error)) {
    return absl::NotFoundError(absl::StrFormat("there is no %s: %s", dir, kServed));
  }
  if (!std::filesystem::is_directory(dir, error)) {
    return absl::InvalidArgumentError(absl::StrFormat("%s is no folder: %s", dir, kServed));
  }
  if (!std::filesystem::exists(dir + "/config.json", error)) {
    return absl::NotFoundError(
        absl::StrFormat("there is no file %s/config.json: %s", dir, kServed));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CompleteShape(const std::string& name, ModelShape* shape) {
  const auto fail = [&](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: %s", name, why));
  };
  if (shape->head_dim == 0) {
    if (shape->hidden % shape->heads != 0) {
      return fail(absl::StrFormat("hidden_size %d is not divisible by num_attention_heads %d",
                                  shape->hidden, shape->heads));
    }
    shape->head_dim = shape->hidden / shape->heads;
  }
  if (shape->heads % shape->kv_heads != 0) {
    return fail(absl::StrFormat("num_attention_heads %d is not divisible by num_key_value_heads %d",
                                shape->heads, shape->kv_heads));
  }
  // Attention works on whole vectors of 8, RoPE on pairs.
  if (shape->head_dim % 8 != 0 || shape->head_dim > kMaxServedHeadDim) {
    return fail(absl::StrFormat(
        "head_dim %d is not a multiple of 8 up to %d; unless given it is hidden_size %d / "
        "num_attention_heads %d",
        shape->head_dim, kMaxServedHeadDim, shape->hidden, shape->heads));
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& config_json,
                                             const std::string& generation_config_json) {
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields config, JsonFields::Parse(config_json, "config.json"));
  SKIPSTONE_ASSIGN_OR_RETURN(
      JsonFields generation,
      JsonFields::Parse(generation_config_json.empty() ? "{}" : generation_config_json,
                        "generation_config.json"));
  SKIPSTONE_RETURN_IF_ERROR(RefuseOtherArchitectures(config));
  ModelConfig model;
  SKIPSTONE_RETURN_IF_ERROR(ParseShape(config, &model));
  const int vocab = model.shape.vocab;
  SKIPSTONE_ASSIGN_OR_RETURN(model.tied_head, config.Bool("tie_word_embeddings", false));
  if (!config.Contains("bos_token_id")) {
    if (kDefaultBos < vocab) model.bos_id = kDefaultBos;
  } else if (config.Has("bos_token_id")) {
    SKIPSTONE_ASSIGN_OR_RETURN(model.bos_id, config.Int("bos_token_id", 0, vocab - 1));
  }
  const JsonFields& ends = generation.Contains("eos_token_id") ? generation : config;
  model.names_eos = ends.Contains("eos_token_id");
  SKIPSTONE_ASSIGN_OR_RETURN(const auto eos_ids, ends.Ints("eos_token_id", 0, vocab - 1));
  model.eos_ids.assign(eos_ids.begin(), eos_ids.end());
  if (!model.names_eos && kDefaultEos < vocab) model.eos_ids = {kDefaultEos};
  return model;
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& dir) {
  SKIPSTONE_RETURN_IF_ERROR(CheckModelFolder(dir));
  SKIPSTONE_ASSIGN_OR_RETURN(std::string config, ReadFile(dir + "/config.json"));
  SKIPSTONE_ASSIGN_OR_RETURN(const std::optional<std::string> generation,
                             ReadIfPresent(dir + "/generation_config.json"));
  absl::StatusOr<ModelConfig> model = ParseModelConfig(config, generation.value_or(""));
  if (model.ok()) return model;
  return absl::InvalidArgumentError(absl::StrFormat("%s: %s", dir, model.status().message()));
}

}  // namespace skipstone
