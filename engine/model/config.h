// config.json of a Hugging Face Llama 2 directory, read strictly: what would change the arithmetic
// and is not Llama 2 is refused by name. Keys that are absent have the defaults of Hugging Face's
// LlamaConfig.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

// The largest model this engine describes. None below Llama 2 70B's; small enough that heads *
// head_dim fits int and that rows * cols * element size of any matrix fits int64_t.
inline constexpr int kMaxServedLayers = kMaxLayers;  // the width of a skip set
inline constexpr int kMaxServedHidden = 1 << 15;
inline constexpr int kMaxServedHeads = 256;
inline constexpr int kMaxServedHeadDim = 1024;
inline constexpr int kMaxServedFfn = 1 << 17;
inline constexpr int kMaxServedVocab = 1 << 20;
inline constexpr int kMaxServedContext = 1 << 22;

struct ModelConfig {
  ModelShape shape;
  bool tied_head = false;
  std::optional<int32_t> bos_id;
  std::vector<int32_t> eos_ids;  // generation_config.json's, else config.json's; null: none
  bool names_eos = false;        // one of the two has the key, be it null
  // Keys that say the shape of the tensors and are absent from config.json.
  std::vector<std::string> defaulted;
};

// Parses the text of config.json, and of generation_config.json where there is one (else empty).
// INVALID_ARGUMENT names the key, its value and what is served.
absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& config_json,
                                             const std::string& generation_config_json);

// Reads both files of `dir`. NOT_FOUND or INVALID_ARGUMENT, with what is served, unless it is a
// folder with a config.json.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& dir);

// Fills in head_dim where it is 0 and checks what the fields must fulfil together; each is within
// its limit already. INVALID_ARGUMENT names the fields as config.json does, after `name`.
absl::Status CompleteShape(const std::string& name, ModelShape* shape);

}  // namespace skipstone
