#include "engine/model/tokenizer_export.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <unordered_map>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "engine/model/json_fields.h"
#include "engine/model/sentence_piece.h"
#include "engine/model/tokenizer_files.h"
#include "engine/model/tokenizer_json.h"
#include "nlohmann/json.hpp"

namespace skipstone {
namespace {

using Json = nlohmann::json;
using Kind = SentencePieceSpec::Kind;

constexpr char kBlank[] = "\u2581";

// What EncodeChat writes, as a template.
constexpr char kLlama2Chat[] =
    "{% set system_message = false %}"
    "{% if messages[0]['role'] == 'system' %}"
    "{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% endif %}"
    "{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('after an optional system message roles alternate: user, assistant') }}"
    "{% endif %}"
    "{% if loop.first and system_message %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content | trim + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + content | trim + ' ' + eos_token }}"
    "{% endif %}{% endfor %}";

bool IsControl(Kind kind) { return kind == Kind::kControl || kind == Kind::kUnknown; }

// The control tokens' old names and new ones, special added tokens' too.
class ControlNames {
 public:
  ControlNames(const SentencePieceSpec& spec, const AddedTokens& added, const std::string& nonce) {
    for (size_t id = 0; id < spec.pieces.size(); ++id) {
      if (!IsControl(spec.pieces[id].kind)) continue;
      names_[spec.pieces[id].text] = absl::StrFormat("<|%d:%s|>", id, nonce);
    }
    for (const auto& [id, token] : added.all()) {
      if (token.special) names_[token.content] = absl::StrFormat("<|%d:%s|>", id, nonce);
    }
  }

  // The name itself of what is no control token.
  const std::string& Of(const std::string& piece) const {
    const auto it = names_.find(piece);
    return it == names_.end() ? piece : it->second;
  }
  bool Has(const std::string& piece) const { return names_.contains(piece); }
  // Decoders that show the old names in place of the new ones, which nobody is to see.
  Json Hiding() const {
    Json all = Json::array();
    for (const auto& [name, renamed] : names_) {
      all.push_back({{"type", "Replace"}, {"pattern", {{"String", renamed}}}, {"content", name}});
    }
    return all;
  }
  // Templates may spell a token out.
  std::string In(const std::string& chat_template) const {
    std::vector<std::pair<std::string, std::string>> tags;
    for (const auto& [name, renamed] : names_) {
      if (name.starts_with('<') && name.ends_with('>')) tags.emplace_back(name, renamed);
    }
    return absl::StrReplaceAll(chat_template, tags);
  }

 private:
  std::map<std::string, std::string> names_;
};

Json AddedEntry(const AddedToken& token) {
  return {{"id", token.id},          {"content", token.content}, {"single_word", false},
          {"lstrip", token.lstrip},  {"rstrip", token.rstrip},   {"normalized", token.normalized},
          {"special", token.special}};
}

// By score, the best first; of one score in the order of what is merged.
Json Merges(const SentencePieceSpec& spec) {
  std::unordered_map<std::string_view, int> ids;
  for (size_t id = 0; id < spec.pieces.size(); ++id) ids.emplace(spec.pieces[id].text, id);
  struct Merge {
    float score;
    int piece, left, right;
  };
  std::vector<Merge> merges;
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    const std::string_view text = spec.pieces[id].text;
    for (size_t k = 1; k < text.size(); ++k) {
      const auto left = ids.find(text.substr(0, k));
      const auto right = ids.find(text.substr(k));
      if (left == ids.end() || right == ids.end()) continue;
      merges.push_back({spec.pieces[id].score, static_cast<int>(id), left->second, right->second});
    }
  }
  std::sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return std::tie(b.score, a.piece, a.left, a.right) <
           std::tie(a.score, b.piece, b.left, b.right);
  });
  Json list = Json::array();
  for (const Merge& merge : merges) {
    list.push_back(spec.pieces[merge.left].text + " " + spec.pieces[merge.right].text);
  }
  return list;
}

Json Normalizer(const SentencePieceSpec& spec) {
  const auto replace = [](const Json& pattern, const char* content) {
    return Json{{"type", "Replace"}, {"pattern", pattern}, {"content", content}};
  };
  Json all = Json::array();
  if (spec.remove_extra_blanks) {
    all.push_back(replace({{"Regex", "^ +| +$"}}, ""));
    all.push_back(replace({{"Regex", " {2,}"}}, " "));
  }
  if (spec.add_dummy_prefix) all.push_back({{"type", "Prepend"}, {"prepend", kBlank}});
  all.push_back(replace({{"String", " "}}, kBlank));
  return {{"type", "Sequence"}, {"normalizers", all}};
}

// Without the one that models come with for a blank at the start.
Json Decoder(const SentencePieceSpec& spec, const ControlNames& names) {
  Json all = names.Hiding();
  all.push_back({{"type", "Replace"}, {"pattern", {{"String", kBlank}}}, {"content", " "}});
  if (spec.byte_fallback) all.push_back({{"type", "ByteFallback"}});
  all.push_back({{"type", "Fuse"}});
  return {{"type", "Sequence"}, {"decoders", all}};
}

// tokenizer.json of a tokenizer.model.
Json FromSpec(const SentencePieceSpec& spec, const AddedTokens& files, const ControlNames& names) {
  Json vocab = Json::object();
  Json added = Json::array();
  std::string unknown;
  for (size_t id = 0; id < spec.pieces.size(); ++id) {
    const SentencePieceSpec::Piece& piece = spec.pieces[id];
    std::string name = names.Of(piece.text);
    // Found in a text before blanks are written so.
    if (piece.kind == Kind::kUserDefined) name = absl::StrReplaceAll(name, {{kBlank, " "}});
    vocab[name] = id;
    AddedToken token{.id = static_cast<int32_t>(id), .content = name, .normalized = false};
    token.special = IsControl(piece.kind);
    if (piece.kind == Kind::kUnknown) unknown = name;
    if (token.special || piece.kind == Kind::kUserDefined) added.push_back(AddedEntry(token));
  }
  for (const auto& [id, token] : files.all()) {
    const bool known = id < static_cast<int>(spec.pieces.size());
    if (known && spec.pieces[id].kind != Kind::kText) continue;
    if (known) vocab.erase(token.content);
    AddedToken named = token;
    named.content = names.Of(token.content);
    if (known) vocab[named.content] = id;
    added.push_back(AddedEntry(named));
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", Normalizer(spec)},
          {"pre_tokenizer", nullptr},
          {"post_processor", nullptr},
          {"decoder", Decoder(spec, names)},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", unknown},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", true},
            {"byte_fallback", spec.byte_fallback},
            {"vocab", vocab},
            {"merges", Merges(spec)}}}};
}

// A tokenizer.json of Llama 2's form with the control tokens' new names. What puts tokens before a
// text is left out, as nobody has need of it.
Json Renamed(Json file, const AddedTokens& files, const ControlNames& names) {
  Json vocab = Json::object();
  for (const auto& [piece, id] : file["model"]["vocab"].items()) vocab[names.Of(piece)] = id;
  file["model"]["vocab"] = vocab;
  if (Json& unknown = file["model"]["unk_token"]; unknown.is_string()) {
    unknown = names.Of(unknown.get<std::string>());
  }
  std::set<int32_t> named;
  for (Json& token : file["added_tokens"]) {
    token["content"] = names.Of(token["content"].get<std::string>());
    named.insert(token["id"].get<int32_t>());
  }
  // Of other files.
  for (const auto& [id, token] : files.all()) {
    if (named.contains(id)) continue;
    AddedToken more = token;
    more.content = names.Of(token.content);
    file["added_tokens"].push_back(AddedEntry(more));
  }
  file["post_processor"] = nullptr;
  Json decoders = names.Hiding();
  const Json given = file["decoder"];
  const bool several = given.contains("decoders");
  for (const Json& decoder : several ? given["decoders"] : Json::array({given})) {
    if (decoder.is_object() && decoder.value("type", "") != "Strip") decoders.push_back(decoder);
  }
  file["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
  return file;
}

std::string Config(const SentencePieceSpec& spec, const TokenizerFiles& files,
                   const ControlNames& names) {
  const std::string eos = files.eos_token.value_or(spec.eos_piece);
  const std::string chat =
      files.chat_template.empty() ? kLlama2Chat : names.In(files.chat_template);
  Json config = {{"tokenizer_class", "LlamaTokenizer"},
                 {"eos_token", names.Of(eos)},
                 {"clean_up_tokenization_spaces", false},
                 {"chat_template", chat}};
  if (names.Has(spec.bos_piece)) config["bos_token"] = names.Of(spec.bos_piece);
  return config.dump();
}

absl::StatusOr<TokenizerFileTexts> AsTheyAre(const std::string& dir) {
  TokenizerFileTexts files;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "chat_template.jinja", "chat_template.json"}) {
    SKIPSTONE_ASSIGN_OR_RETURN(std::optional<std::string> text, ReadIfPresent(dir + "/" + name));
    if (text.has_value()) files.emplace_back(name, *std::move(text));
  }
  return files;
}

TokenizerFileTexts Both(const Json& tokenizer, const SentencePieceSpec& spec,
                        const TokenizerFiles& files, const ControlNames& names) {
  return {{"tokenizer.json", tokenizer.dump()},
          {"tokenizer_config.json", Config(spec, files, names)}};
}

absl::StatusOr<TokenizerFileTexts> Export(const std::string& dir, const std::string& nonce) {
  SKIPSTONE_ASSIGN_OR_RETURN(const TokenizerFiles files, ReadTokenizerFiles(dir));
  SKIPSTONE_ASSIGN_OR_RETURN(const std::optional<std::string> bytes,
                             ReadIfPresent(dir + "/tokenizer.model"));
  if (bytes.has_value()) {
    std::string error;
    const auto model = SentencePieceModel::Parse(*bytes, &error);
    if (model == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s/tokenizer.model is no SentencePiece model: %s", dir, error));
    }
    std::optional<BlankPrefix> prefix = files.prefix;
    if (!prefix.has_value() && files.tokenizer_json.has_value()) {
      SKIPSTONE_ASSIGN_OR_RETURN(prefix, ReadBlankPrefix(*files.tokenizer_json));
    }
    SentencePieceSpec spec = model->spec();
    spec.add_dummy_prefix &= prefix != BlankPrefix::kNever;
    const ControlNames names(spec, files.added, nonce);
    return Both(FromSpec(spec, files.added, names), spec, files, names);
  }
  if (!files.tokenizer_json.has_value()) {
    return absl::NotFoundError(
        absl::StrFormat("there is neither %s/tokenizer.model nor a tokenizer.json beside it", dir));
  }
  SKIPSTONE_ASSIGN_OR_RETURN(const TokenizerJson json, ReadTokenizerJson(*files.tokenizer_json));
  if (!json.other_form.empty()) return AsTheyAre(dir);
  SKIPSTONE_ASSIGN_OR_RETURN(const std::string text, ReadFile(dir + "/tokenizer.json"));
  const ControlNames names(json.spec, files.added, nonce);
  // What nests deeper than anything in it would overflow the stack of who writes it.
  constexpr int kDeepest = 32;
  const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth < kDeepest; };
  return Both(Renamed(Json::parse(text, shallow), files.added, names), json.spec, files, names);
}

}  // namespace

absl::StatusOr<TokenizerFileTexts> ExportTokenizer(const std::string& dir,
                                                   const std::string& nonce) {
  try {
    return Export(dir, nonce);
  } catch (const Json::exception& error) {  // such as a piece that is not UTF-8
    return absl::InvalidArgumentError(absl::StrFormat("%s: the tokenizer: %s", dir, error.what()));
  }
}

}  // namespace skipstone
