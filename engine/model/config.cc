#include "engine/model/config.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/model/json_fields.h"
#include "engine/model/model_folder.h"
#include "engine/model/model_limits.h"
#include "engine/model/read_file.h"

namespace skipstone {
namespace {

// Scaled RoPE changes the angles. What remains is the plain form under one of its names.
absl::Status RefuseScaledRope(const JsonFields& config, const std::string& key) {
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields rope, config.Object(key));
  SKIPSTONE_ASSIGN_OR_RETURN(std::string old_type, rope.String("type", "default"));
  SKIPSTONE_ASSIGN_OR_RETURN(std::string type, rope.String("rope_type", old_type));
  SKIPSTONE_ASSIGN_OR_RETURN(double factor, rope.Number("factor", 0, 1e9, 1.0));
  if (type == "default" || (type == "linear" && factor == 1.0)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "config.json: %s of type '%s' with factor %g: scaled RoPE is not served, only null", key,
      type, factor));
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

absl::StatusOr<double> RopeTheta(const JsonFields& config) {
  // Newer writers keep it among rope_parameters.
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields rope, config.Object("rope_parameters"));
  SKIPSTONE_ASSIGN_OR_RETURN(double nested, rope.Number("rope_theta", 1, 1e12, 10000.0));
  return config.Number("rope_theta", 1, 1e12, nested);
}

absl::StatusOr<ModelShape> ParseShape(const JsonFields& config) {
  const auto size = [&](const char* key, int max) { return config.Int(key, 1, max); };
  ModelShape shape;
  SKIPSTONE_ASSIGN_OR_RETURN(shape.num_layers, size("num_hidden_layers", kMaxServedLayers));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.hidden, size("hidden_size", kMaxServedHidden));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.heads, size("num_attention_heads", kMaxServedHeads));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.kv_heads,
                             config.Int("num_key_value_heads", 1, kMaxServedHeads, shape.heads));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.head_dim, config.Int("head_dim", 1, kMaxServedHeadDim, 0));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.ffn, size("intermediate_size", kMaxServedFfn));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.vocab, size("vocab_size", kMaxServedVocab));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.max_context, size("max_position_embeddings", kMaxServedContext));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.norm_epsilon, config.Number("rms_norm_eps", 1e-12, 0.1, 1e-6));
  SKIPSTONE_ASSIGN_OR_RETURN(shape.rope_theta, RopeTheta(config));
  SKIPSTONE_RETURN_IF_ERROR(CompleteShape("config.json", &shape));
  return shape;
}

absl::StatusOr<std::vector<int32_t>> EosIds(const JsonFields& config, const JsonFields& generation,
                                            int vocab) {
  const JsonFields& source = generation.Has("eos_token_id") ? generation : config;
  SKIPSTONE_ASSIGN_OR_RETURN(std::vector<int64_t> ids, source.Ints("eos_token_id", 0, vocab - 1));
  return std::vector<int32_t>(ids.begin(), ids.end());
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& config_json,
                                             const std::string& generation_config_json) {
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields config, JsonFields::Parse(config_json, "config.json"));
  SKIPSTONE_ASSIGN_OR_RETURN(
      JsonFields generation,
      JsonFields::Parse(generation_config_json.empty() ? "{}" : generation_config_json,
                        "generation_config.json"));
  SKIPSTONE_RETURN_IF_ERROR(RefuseOtherArchitectures(config));
  ModelConfig model;
  SKIPSTONE_ASSIGN_OR_RETURN(model.shape, ParseShape(config));
  SKIPSTONE_ASSIGN_OR_RETURN(model.tied_head, config.Bool("tie_word_embeddings", false));
  if (config.Has("bos_token_id")) {
    SKIPSTONE_ASSIGN_OR_RETURN(model.bos_id, config.Int("bos_token_id", 0, model.shape.vocab - 1));
  }
  SKIPSTONE_ASSIGN_OR_RETURN(model.eos_ids, EosIds(config, generation, model.shape.vocab));
  return model;
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& dir) {
  SKIPSTONE_RETURN_IF_ERROR(CheckModelFolder(dir));
  SKIPSTONE_ASSIGN_OR_RETURN(std::string config, ReadFile(dir + "/config.json"));
  absl::StatusOr<std::string> generation = ReadFile(dir + "/generation_config.json");
  if (absl::IsNotFound(generation.status())) generation = std::string();
  if (!generation.ok()) return generation.status();
  absl::StatusOr<ModelConfig> model = ParseModelConfig(config, *generation);
  if (model.ok()) return model;
  return absl::InvalidArgumentError(absl::StrFormat("%s: %s", dir, model.status().message()));
}

}  // namespace skipstone
