#include "engine/model/tokenizer_files.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/model/config.h"

namespace skipstone {
namespace {

// Beyond what any checkpoint may have; what the model has is checked against it later.
constexpr int32_t kMaxId = kMaxServedVocab - 1;

absl::StatusOr<std::optional<JsonFields>> ReadJson(const std::string& path) {
  SKIPSTONE_ASSIGN_OR_RETURN(std::optional<std::string> text, ReadIfPresent(path));
  if (!text.has_value()) return std::nullopt;
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields fields, JsonFields::Parse(*text, path));
  return fields;
}

// The tokens that a file names in a role, such as eos_token: special ones, whatever else is said.
absl::Status AddNamedTokens(const JsonFields& file, std::set<std::string>* names) {
  for (const char* key : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                          "cls_token", "mask_token"}) {
    SKIPSTONE_ASSIGN_OR_RETURN(std::optional<std::string> name, file.Token(key));
    if (name.has_value()) names->insert(*name);
  }
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    SKIPSTONE_ASSIGN_OR_RETURN(std::vector<std::string> more, file.Tokens(key));
    names->insert(more.begin(), more.end());
  }
  return absl::OkStatus();
}

absl::StatusOr<AddedToken> ReadAddedToken(const JsonFields& fields, int64_t id) {
  AddedToken token{.id = static_cast<int32_t>(id)};
  SKIPSTONE_ASSIGN_OR_RETURN(token.content, fields.String("content", ""));
  SKIPSTONE_ASSIGN_OR_RETURN(token.lstrip, fields.Bool("lstrip", false));
  SKIPSTONE_ASSIGN_OR_RETURN(token.rstrip, fields.Bool("rstrip", false));
  SKIPSTONE_ASSIGN_OR_RETURN(token.normalized, fields.Bool("normalized", true));
  SKIPSTONE_ASSIGN_OR_RETURN(token.special, fields.Bool("special", false));
  SKIPSTONE_ASSIGN_OR_RETURN(bool single_word, fields.Bool("single_word", false));
  // It takes Unicode's classes of letters.
  if (single_word) return fields.Error("single_word", "tokens with it are not served");
  return token;
}

// Adds it unless a file before said the same token.
absl::Status Add(AddedToken token, const std::set<std::string>& special, const std::string& file,
                 AddedTokens* added) {
  const AddedToken* known = added->Find(token.id);
  if (known != nullptr && known->content == token.content) return absl::OkStatus();
  token.special |= special.contains(token.content);
  const absl::Status status = added->Add(std::move(token));
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrFormat("%s: %s", file, status.message()));
}

absl::Status AddFromDecoder(const JsonFields& config, const std::set<std::string>& special,
                            const std::string& file, AddedTokens* added) {
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields decoder, config.Object("added_tokens_decoder"));
  for (const std::string& key : decoder.Keys()) {
    int64_t id = -1;
    if (!absl::SimpleAtoi(key, &id) || id < 0 || id > kMaxId) {
      return decoder.Error(key, absl::StrFormat("ids from 0 to %d are needed", kMaxId));
    }
    SKIPSTONE_ASSIGN_OR_RETURN(JsonFields fields, decoder.Object(key));
    SKIPSTONE_ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken(fields, id));
    SKIPSTONE_RETURN_IF_ERROR(Add(std::move(token), special, file, added));
  }
  return absl::OkStatus();
}

absl::Status AddFromTokenizerJson(const JsonFields& json, const std::set<std::string>& special,
                                  const std::string& file, AddedTokens* added) {
  SKIPSTONE_ASSIGN_OR_RETURN(std::vector<JsonFields> tokens, json.Objects("added_tokens"));
  for (const JsonFields& fields : tokens) {
    SKIPSTONE_ASSIGN_OR_RETURN(const int64_t id, fields.Int("id", 0, kMaxId));
    SKIPSTONE_ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken(fields, id));
    SKIPSTONE_RETURN_IF_ERROR(Add(std::move(token), special, file, added));
  }
  return absl::OkStatus();
}

absl::Status AddFromTexts(const JsonFields& texts, const std::set<std::string>& special,
                          const std::string& file, AddedTokens* added) {
  for (const std::string& content : texts.Keys()) {
    SKIPSTONE_ASSIGN_OR_RETURN(const int64_t id, texts.Int(content, 0, kMaxId));
    SKIPSTONE_RETURN_IF_ERROR(Add({.id = static_cast<int32_t>(id),
                                   .content = content,
                                   .normalized = !special.contains(content)},
                                  special, file, added));
  }
  return absl::OkStatus();
}

// A string, or a list of named ones of which "default" counts.
absl::Status ReadChatTemplate(const std::string& dir, const JsonFields& config,
                              TokenizerFiles* files) {
  files->chat_template_file = dir + "/chat_template.jinja";
  SKIPSTONE_ASSIGN_OR_RETURN(std::optional<std::string> own,
                             ReadIfPresent(files->chat_template_file));
  if (own.has_value()) {
    files->chat_template = *own;
    return absl::OkStatus();
  }
  files->chat_template_file = dir + "/tokenizer_config.json";
  if (!config.IsArray("chat_template")) {
    SKIPSTONE_ASSIGN_OR_RETURN(files->chat_template, config.String("chat_template", ""));
    return absl::OkStatus();
  }
  SKIPSTONE_ASSIGN_OR_RETURN(std::vector<JsonFields> named, config.Objects("chat_template"));
  for (const JsonFields& entry : named) {
    SKIPSTONE_ASSIGN_OR_RETURN(std::string name, entry.String("name", ""));
    if (name != "default" && !files->chat_template.empty()) continue;
    SKIPSTONE_ASSIGN_OR_RETURN(files->chat_template, entry.String("template", ""));
    if (name == "default") break;
  }
  return absl::OkStatus();
}

absl::Status ReadConfig(const std::string& dir, const JsonFields& config, TokenizerFiles* files) {
  if (config.Has("add_bos_token")) {
    SKIPSTONE_ASSIGN_OR_RETURN(files->add_bos_token, config.Bool("add_bos_token", true));
  }
  SKIPSTONE_ASSIGN_OR_RETURN(files->add_eos_token, config.Bool("add_eos_token", false));
  SKIPSTONE_ASSIGN_OR_RETURN(const bool legacy, config.Bool("legacy", true));
  SKIPSTONE_ASSIGN_OR_RETURN(const bool prefix, config.Bool("add_prefix_space", true));
  if (config.Has("legacy") || !prefix) {
    files->prefix = !prefix  ? BlankPrefix::kNever
                    : legacy ? BlankPrefix::kAlways
                             : BlankPrefix::kFirst;
  }
  return ReadChatTemplate(dir, config, files);
}

}  // namespace

absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::string& dir) {
  const std::string config_file = dir + "/tokenizer_config.json";
  const std::string map_file = dir + "/special_tokens_map.json";
  const std::string added_file = dir + "/added_tokens.json";
  const std::string json_file = dir + "/tokenizer.json";
  SKIPSTONE_ASSIGN_OR_RETURN(std::optional<JsonFields> config, ReadJson(config_file));
  SKIPSTONE_ASSIGN_OR_RETURN(std::optional<JsonFields> map, ReadJson(map_file));
  SKIPSTONE_ASSIGN_OR_RETURN(std::optional<JsonFields> texts, ReadJson(added_file));
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields none, JsonFields::Parse("{}", config_file));
  TokenizerFiles files;
  SKIPSTONE_ASSIGN_OR_RETURN(files.tokenizer_json, ReadJson(json_file));
  SKIPSTONE_RETURN_IF_ERROR(ReadConfig(dir, config.value_or(none), &files));
  std::set<std::string> special;
  for (const std::optional<JsonFields>& file : {config, map}) {
    if (!file.has_value()) continue;
    SKIPSTONE_RETURN_IF_ERROR(AddNamedTokens(*file, &special));
    SKIPSTONE_ASSIGN_OR_RETURN(std::optional<std::string> eos, file->Token("eos_token"));
    if (!files.eos_token.has_value()) files.eos_token = eos;
  }
  if (config) {
    SKIPSTONE_RETURN_IF_ERROR(AddFromDecoder(*config, special, config_file, &files.added));
  }
  if (files.tokenizer_json) {
    SKIPSTONE_RETURN_IF_ERROR(
        AddFromTokenizerJson(*files.tokenizer_json, special, json_file, &files.added));
  }
  if (texts) SKIPSTONE_RETURN_IF_ERROR(AddFromTexts(*texts, special, added_file, &files.added));
  return files;
}

}  // namespace skipstone
