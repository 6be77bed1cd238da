// config.json of a Hugging Face Llama 2 directory, read strictly: what would change the arithmetic
// and is not Llama 2 is refused by name. Keys that are absent have the defaults of Hugging Face's
// LlamaConfig.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"

namespace skipstone {

struct ModelConfig {
  ModelShape shape;
  bool tied_head = false;
  std::optional<int32_t> bos_id;
  std::vector<int32_t> eos_ids;  // generation_config.json's, else config.json's; null: none
  // Keys that say the shape of the tensors and are absent from config.json.
  std::vector<std::string> defaulted;
};

// Parses the text of config.json, and of generation_config.json where there is one (else empty).
// INVALID_ARGUMENT names the key, its value and what is served.
absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& config_json,
                                             const std::string& generation_config_json);

// Reads both files of `dir`. NOT_FOUND if config.json is missing.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& dir);

}  // namespace skipstone
