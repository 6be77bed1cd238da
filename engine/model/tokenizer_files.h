// What the JSON files beside a tokenizer's vocabulary say: tokenizer_config.json,
// special_tokens_map.json, added_tokens.json and tokenizer.json, read as Hugging Face reads them.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/model/added_tokens.h"
#include "engine/model/json_fields.h"

namespace skipstone {

// Where the blank that a vocabulary puts in front of a text goes in a text with added tokens.
enum class BlankPrefix {
  kNever,
  kFirst,
  kAlways
};  // nowhere; at the text's start; before each part

struct TokenizerFiles {
  // tokenizer_config.json's added_tokens_decoder, tokenizer.json's added_tokens, added_tokens.json:
  // of a token that several name, the first one's flags count. Not finished.
  AddedTokens added;
  std::optional<bool> add_bos_token;
  bool add_eos_token = false;
  std::optional<std::string> eos_token;
  // What `legacy` and `add_prefix_space` say, if either is there.
  std::optional<BlankPrefix> prefix;
  std::string chat_template;       // empty: none
  std::string chat_template_file;  // where it stands
  std::optional<JsonFields> tokenizer_json;
};

// INVALID_ARGUMENT names file, key and value of what is broken, contradictory or not served.
absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::string& dir);

}  // namespace skipstone
