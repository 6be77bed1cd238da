#include "engine/model/tokenizer_json.h"

#include <algorithm>
#include <set>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/model/config.h"

namespace skipstone {
namespace {

constexpr char kBlank[] = "\u2581";

// The parts of a stage: itself, or the list of a Sequence.
absl::StatusOr<std::vector<JsonFields>> Parts(const JsonFields& file, const std::string& stage,
                                              const std::string& list) {
  std::vector<JsonFields> parts;
  if (!file.Has(stage)) return parts;
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields whole, file.Object(stage));
  SKIPSTONE_ASSIGN_OR_RETURN(std::string type, whole.String("type", ""));
  if (type == "Sequence") return whole.Objects(list);
  parts.push_back(std::move(whole));
  return parts;
}

// Whether it replaces `from` by `to`.
absl::StatusOr<bool> Replaces(const JsonFields& part, const std::string& from,
                              const std::string& to) {
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields pattern, part.Object("pattern"));
  SKIPSTONE_ASSIGN_OR_RETURN(std::string regex, pattern.String("Regex", ""));
  SKIPSTONE_ASSIGN_OR_RETURN(std::string text, pattern.String("String", regex));
  SKIPSTONE_ASSIGN_OR_RETURN(std::string content, part.String("content", ""));
  return text == from && content == to;
}

// A Metaspace's.
absl::StatusOr<std::string> SchemeOf(const JsonFields& part) {
  SKIPSTONE_ASSIGN_OR_RETURN(const bool prefix, part.Bool("add_prefix_space", true));
  return part.String("prepend_scheme", prefix ? "always" : "never");
}

// Reads normalizer and pre_tokenizer, which both may write blanks as U+2581.
class BlankStages {
 public:
  explicit BlankStages(TokenizerJson* json) : json_(*json) {}

  absl::Status Read(const JsonFields& file) {
    SKIPSTONE_ASSIGN_OR_RETURN(auto normalizers, Parts(file, "normalizer", "normalizers"));
    for (const JsonFields& part : normalizers) {
      SKIPSTONE_RETURN_IF_ERROR(ReadPart(part, "normalizer"));
    }
    SKIPSTONE_ASSIGN_OR_RETURN(auto pre_tokenizers, Parts(file, "pre_tokenizer", "pretokenizers"));
    for (const JsonFields& part : pre_tokenizers) {
      SKIPSTONE_RETURN_IF_ERROR(ReadPart(part, "pre_tokenizer"));
    }
    if (!writes_blanks_ && json_.other_form.empty()) {
      json_.other_form = "it does not write blanks as U+2581";
    }
    json_.spec.add_dummy_prefix = json_.prefix != BlankPrefix::kNever;
    return absl::OkStatus();
  }

 private:
  absl::Status ReadPart(const JsonFields& part, const char* stage) {
    SKIPSTONE_ASSIGN_OR_RETURN(std::string type, part.String("type", ""));
    bool known = false;
    if (type == "Prepend") {
      SKIPSTONE_ASSIGN_OR_RETURN(std::string text, part.String("prepend", ""));
      known = text == kBlank;
      json_.prefix = BlankPrefix::kAlways;
    } else if (type == "Replace") {
      SKIPSTONE_ASSIGN_OR_RETURN(known, Replaces(part, " ", kBlank));
      writes_blanks_ = true;
    } else if (type == "Metaspace") {
      SKIPSTONE_ASSIGN_OR_RETURN(known, ReadMetaspace(part));
      writes_blanks_ = true;
    }
    if (!known && json_.other_form.empty()) {
      json_.other_form = absl::StrFormat("its %s is %s", stage, type);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<bool> ReadMetaspace(const JsonFields& part) {
    SKIPSTONE_ASSIGN_OR_RETURN(std::string blank, part.String("replacement", kBlank));
    SKIPSTONE_ASSIGN_OR_RETURN(std::string scheme, SchemeOf(part));
    SKIPSTONE_ASSIGN_OR_RETURN(json_.spec.split_at_blanks, part.Bool("split", true));
    if (scheme == "always") json_.prefix = BlankPrefix::kAlways;
    if (scheme == "first") json_.prefix = BlankPrefix::kFirst;
    const bool known = scheme == "always" || scheme == "first" || scheme == "never";
    return known && blank == kBlank;
  }

  TokenizerJson& json_;
  bool writes_blanks_ = false;
};

absl::Status ReadDecoder(const JsonFields& file, TokenizerJson* json) {
  SKIPSTONE_ASSIGN_OR_RETURN(auto parts, Parts(file, "decoder", "decoders"));
  json->strips_blank = parts.empty() && json->spec.add_dummy_prefix;
  for (const JsonFields& part : parts) {
    SKIPSTONE_ASSIGN_OR_RETURN(std::string type, part.String("type", ""));
    bool known = type == "ByteFallback" || type == "Fuse" || type == "Metaspace";
    if (type == "Metaspace") {
      SKIPSTONE_ASSIGN_OR_RETURN(std::string scheme, SchemeOf(part));
      json->strips_blank = scheme != "never";
    } else if (type == "Replace") {
      SKIPSTONE_ASSIGN_OR_RETURN(known, Replaces(part, kBlank, " "));
    } else if (type == "Strip") {
      SKIPSTONE_ASSIGN_OR_RETURN(std::string content, part.String("content", ""));
      SKIPSTONE_ASSIGN_OR_RETURN(const int64_t start, part.Int("start", 0, INT32_MAX, 0));
      SKIPSTONE_ASSIGN_OR_RETURN(const int64_t stop, part.Int("stop", 0, INT32_MAX, 0));
      known = content == " " && start == 1 && stop == 0;
      json->strips_blank = true;
    }
    if (!known && json->other_form.empty()) {
      json->other_form = absl::StrFormat("its decoder is %s", type);
    }
  }
  return absl::OkStatus();
}

// What a TemplateProcessing puts around a text.
absl::Status ReadTemplate(const JsonFields& part, TokenizerJson* json) {
  SKIPSTONE_ASSIGN_OR_RETURN(std::vector<JsonFields> single, part.Objects("single"));
  int tokens = 0;
  bool behind = false;
  for (const JsonFields& item : single) {
    behind |= item.Has("Sequence");
    if (!item.Has("SpecialToken")) continue;
    SKIPSTONE_ASSIGN_OR_RETURN(JsonFields token, item.Object("SpecialToken"));
    SKIPSTONE_ASSIGN_OR_RETURN((behind ? json->back : *json->front), token.String("id", ""));
    tokens += behind ? 0 : 1;
  }
  if (tokens > 1) json->other_form = "its post_processor puts several tokens before a text";
  return absl::OkStatus();
}

absl::Status ReadPostProcessor(const JsonFields& file, TokenizerJson* json) {
  SKIPSTONE_ASSIGN_OR_RETURN(auto parts, Parts(file, "post_processor", "processors"));
  if (!parts.empty()) json->front = "";
  for (const JsonFields& part : parts) {
    SKIPSTONE_ASSIGN_OR_RETURN(std::string type, part.String("type", ""));
    if (type == "TemplateProcessing") {
      SKIPSTONE_RETURN_IF_ERROR(ReadTemplate(part, json));
    } else if (type != "ByteLevel") {  // which moves offsets only
      json->other_form = absl::StrFormat("its post_processor is %s", type);
    }
  }
  return absl::OkStatus();
}

// The vocabulary's texts by id, and what kinds they are. `special`: its added tokens of that kind.
absl::Status ReadVocabulary(const JsonFields& model, const std::set<std::string>& special,
                            TokenizerJson* json) {
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields vocabulary, model.Object("vocab"));
  SKIPSTONE_ASSIGN_OR_RETURN(std::string unknown, model.String("unk_token", "<unk>"));
  const std::vector<std::string> texts = vocabulary.Keys();
  std::vector<SentencePieceSpec::Piece>& pieces = json->spec.pieces;
  pieces.resize(texts.size());
  for (const std::string& text : texts) {
    SKIPSTONE_ASSIGN_OR_RETURN(const int64_t id,
                               vocabulary.Int(text, 0, static_cast<int64_t>(texts.size()) - 1));
    SentencePieceSpec::Piece& piece = pieces[id];
    if (!piece.text.empty()) {
      return vocabulary.Error(text, absl::StrFormat("'%s' has this id too", piece.text));
    }
    piece.text = text;
    const bool byte = text.size() == 6 && text.starts_with("<0x") && text.ends_with(">");
    // What SentencePiece calls control tokens. Its file knows them by type.
    const bool control =
        (text == json->spec.bos_piece || text == json->spec.eos_piece) && special.contains(text);
    piece.kind = text == unknown                    ? SentencePieceSpec::Kind::kUnknown
                 : control                          ? SentencePieceSpec::Kind::kControl
                 : byte && json->spec.byte_fallback ? SentencePieceSpec::Kind::kByte
                                                    : SentencePieceSpec::Kind::kText;
  }
  return absl::OkStatus();
}

absl::Status ReadMerges(const JsonFields& model, TokenizerJson* json) {
  json->spec.listed_merges = true;
  SKIPSTONE_ASSIGN_OR_RETURN(json->spec.merges, model.Pairs("merges"));
  std::unordered_set<std::string> texts;
  for (const SentencePieceSpec::Piece& piece : json->spec.pieces) texts.insert(piece.text);
  for (const auto& [left, right] : json->spec.merges) {
    for (const std::string& text : {left, right, left + right}) {
      if (texts.contains(text)) continue;
      return model.Error("merges", absl::StrFormat("'%s' and '%s' are merged, and '%s' is no piece",
                                                   left, right, text));
    }
  }
  return absl::OkStatus();
}

// What of a BPE model changes the outcome and is not Llama 2's; else empty.
absl::StatusOr<std::string> OtherModel(const JsonFields& model) {
  SKIPSTONE_ASSIGN_OR_RETURN(std::string type,
                             model.String("type", model.Has("merges") ? "BPE" : "absent"));
  if (type != "BPE") return absl::StrFormat("its model's type is %s", type);
  SKIPSTONE_ASSIGN_OR_RETURN(const double dropout, model.Number("dropout", 0, 1, 0));
  if (dropout > 0) return "its model has dropout";
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    SKIPSTONE_ASSIGN_OR_RETURN(std::string affix, model.String(key, ""));
    if (!affix.empty()) return absl::StrFormat("its model has %s '%s'", key, affix);
  }
  SKIPSTONE_ASSIGN_OR_RETURN(const bool bytes, model.Bool("byte_fallback", false));
  SKIPSTONE_ASSIGN_OR_RETURN(const bool fuse, model.Bool("fuse_unk", false));
  SKIPSTONE_ASSIGN_OR_RETURN(std::string unknown, model.String("unk_token", ""));
  if (bytes) return "";
  if (unknown.empty()) return "its model has neither byte_fallback nor unk_token";
  return fuse ? "" : "its model has neither byte_fallback nor fuse_unk";
}

// Of any form whose vocabulary maps texts to ids.
absl::StatusOr<int> CountTokens(const JsonFields& model) {
  if (!model.Has("vocab") || model.IsArray("vocab")) return 0;
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields vocabulary, model.Object("vocab"));
  int64_t most = -1;
  for (const std::string& text : vocabulary.Keys()) {
    SKIPSTONE_ASSIGN_OR_RETURN(const int64_t id, vocabulary.Int(text, 0, kMaxServedVocab - 1));
    most = std::max(most, id);
  }
  return static_cast<int>(most + 1);
}

}  // namespace

absl::StatusOr<std::optional<BlankPrefix>> ReadBlankPrefix(const JsonFields& file) {
  TokenizerJson json;
  SKIPSTONE_RETURN_IF_ERROR(BlankStages(&json).Read(file));
  if (!json.other_form.empty()) return std::nullopt;
  return json.prefix;
}

absl::StatusOr<TokenizerJson> ReadTokenizerJson(const JsonFields& file) {
  TokenizerJson json;
  if (!file.Has("model")) return file.Error("model", "an object is needed");
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields model, file.Object("model"));
  SKIPSTONE_ASSIGN_OR_RETURN(json.tokens, CountTokens(model));
  SKIPSTONE_RETURN_IF_ERROR(BlankStages(&json).Read(file));
  SKIPSTONE_RETURN_IF_ERROR(ReadDecoder(file, &json));
  if (json.other_form.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(json.other_form, OtherModel(model));
  }
  if (json.other_form.empty()) SKIPSTONE_RETURN_IF_ERROR(ReadPostProcessor(file, &json));
  if (!json.other_form.empty()) return json;
  SKIPSTONE_ASSIGN_OR_RETURN(json.spec.byte_fallback, model.Bool("byte_fallback", false));
  SKIPSTONE_ASSIGN_OR_RETURN(json.spec.whole_words, model.Bool("ignore_merges", false));
  std::set<std::string> special;
  SKIPSTONE_ASSIGN_OR_RETURN(std::vector<JsonFields> added, file.Objects("added_tokens"));
  for (const JsonFields& token : added) {
    SKIPSTONE_ASSIGN_OR_RETURN(const bool is_special, token.Bool("special", false));
    SKIPSTONE_ASSIGN_OR_RETURN(std::string content, token.String("content", ""));
    if (is_special) special.insert(content);
  }
  SKIPSTONE_RETURN_IF_ERROR(ReadVocabulary(model, special, &json));
  SKIPSTONE_RETURN_IF_ERROR(ReadMerges(model, &json));
  return json;
}

}  // namespace skipstone
