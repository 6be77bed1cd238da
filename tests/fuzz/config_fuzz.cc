// config.json and, after a NUL, generation_config.json; the whole input also as the name of a
// synthetic model.
#include "base/check.h"
#include "engine/model/config.h"
#include "engine/model/synthetic.h"
#include "tests/fuzz/fuzz_target.h"

namespace skipstone {
namespace {

bool Within(int64_t value, int64_t min, int64_t max) { return value >= min && value <= max; }

// Everything that other code computes with, unasked.
void CheckShape(const ModelShape& s) {
  SKIPSTONE_CHECK(Within(s.num_layers, 1, kMaxServedLayers));
  SKIPSTONE_CHECK(Within(s.hidden, 1, kMaxServedHidden));
  SKIPSTONE_CHECK(Within(s.heads, 1, kMaxServedHeads));
  SKIPSTONE_CHECK(Within(s.kv_heads, 1, s.heads) && s.heads % s.kv_heads == 0);
  SKIPSTONE_CHECK(Within(s.head_dim, 8, kMaxServedHeadDim) && s.head_dim % 8 == 0);
  SKIPSTONE_CHECK(Within(s.ffn, 1, kMaxServedFfn));
  SKIPSTONE_CHECK(Within(s.vocab, 1, kMaxServedVocab));
  SKIPSTONE_CHECK(Within(s.max_context, 1, kMaxServedContext));
  SKIPSTONE_CHECK(s.norm_epsilon > 0 && s.norm_epsilon < 1);
  SKIPSTONE_CHECK(s.rope_theta >= 1 && s.rope_theta < 1e13f);
}

void CheckConfig(const ModelConfig& config) {
  CheckShape(config.shape);
  if (config.bos_id) SKIPSTONE_CHECK(Within(*config.bos_id, 0, config.shape.vocab - 1));
  for (const int32_t id : config.eos_ids) SKIPSTONE_CHECK(Within(id, 0, config.shape.vocab - 1));
}

constexpr char kConfig[] = R"({"model_type": "llama", "hidden_act": "silu", "hidden_size": 4096,
"intermediate_size": 11008, "max_position_embeddings": 4096, "num_attention_heads": 32,
"num_hidden_layers": 32, "num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-05,
"rope_scaling": {"type": "linear", "factor": 1.0}, "rope_theta": 10000.0, "attention_bias": false,
"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "tie_word_embeddings": true,
"bos_token_id": 1, "eos_token_id": [2, 3], "vocab_size": 32000, "sliding_window": null})";

constexpr char kSmallest[] = R"({"model_type":"llama","hidden_size":8,"intermediate_size":1,
"max_position_embeddings":1,"num_attention_heads":1,"num_hidden_layers":1,"vocab_size":1})";

}  // namespace

FuzzSeeds Seeds() {
  return {{kConfig, kSmallest, std::string(kConfig) + '\0' + R"({"eos_token_id": 7})", "{}", "",
           "layers=4,hidden=512,heads=8,kv_heads=4,ffn=1408,vocab=2048,context=64,type=f16",
           "llama-2-7b"},
          {"null", "true", "[", "]", "{", "}", "\"", ":", ",", "[[[[[[[[", "{\"a\":", "\"llama\"",
           "\"num_key_value_heads\":", "\"head_dim\":", "\"eos_token_id\":", "\"rope_scaling\":",
           "layers=", "kv_heads=", "type="}};
}

}  // namespace skipstone

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skipstone;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(text.find('\0'), text.size());
  const auto config = ParseModelConfig(text.substr(0, end), text.substr(std::min(end + 1, size)));
  SKIPSTONE_CHECK(config.ok() || absl::IsInvalidArgument(config.status()));
  if (config.ok()) CheckConfig(*config);
  const auto synthetic = ParseSyntheticModel("synthetic:" + text);
  SKIPSTONE_CHECK(synthetic.ok() || absl::IsInvalidArgument(synthetic.status()));
  if (synthetic.ok()) CheckConfig(synthetic->config);
  return 0;
}
