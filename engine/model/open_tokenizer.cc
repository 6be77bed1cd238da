// Joins the files of a model's tokenizer.
#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/log.h"
#include "base/status.h"
#include "base/utf8.h"
#include "engine/model/json_fields.h"
#include "engine/model/sentence_piece.h"
#include "engine/model/tokenizer.h"
#include "engine/model/tokenizer_files.h"
#include "engine/model/tokenizer_json.h"

namespace skipstone {
namespace {

// What was read of a model's files.
struct SentencePieceParts {
  std::unique_ptr<SentencePieceModel> model;
  AddedTokens added;  // finished; ids in the model are texts of it, the others follow without gaps
  BlankPrefix prefix = BlankPrefix::kAlways;
  bool keeps_blank = false;  // decoding keeps a blank at the start
  std::optional<int32_t> bos_id;
  bool adds_bos = true;               // before text prompts; chats have it at every turn
  std::optional<int32_t> eos_id;      // what the files name
  std::optional<int32_t> own_eos_id;  // the vocabulary's
  absl::Status chat;                  // what CheckChat says
};

std::string WithBlanks(const std::string& piece) {
  return absl::StrReplaceAll(piece, {{"\u2581", " "}});
}

std::string BytesOf(const SentencePieceModel& model, int id) {
  const std::string& piece = model.Piece(id);
  switch (model.KindOf(id)) {
    case SentencePieceModel::Kind::kControl:
      return "";
    case SentencePieceModel::Kind::kUnknown:
      return model.spec().unknown_surface;  // as SentencePiece decodes it
    case SentencePieceModel::Kind::kByte: {
      int byte = 0;  // "<0x0A>"
      const bool hex = piece.size() == 6 && absl::SimpleHexAtoi(piece.substr(3, 2), &byte);
      return hex ? std::string(1, static_cast<char>(byte)) : piece;
    }
    case SentencePieceModel::Kind::kText:
    case SentencePieceModel::Kind::kUserDefined:
      break;
  }
  return WithBlanks(piece);
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(SentencePieceParts parts) : parts_(std::move(parts)) {
    for (int id = 0; id < model().size(); ++id) bytes_.push_back(BytesOf(model(), id));
    const SentencePieceSpec& spec = model().spec();
    // Where one id may stand for any number of bytes that are removed or unknown.
    bool any_bytes = !spec.byte_fallback || spec.remove_extra_blanks;
    most_bytes_ = model().longest_piece_bytes();
    for (const auto& [id, token] : parts_.added.all()) {
      any_bytes |= token.lstrip || token.rstrip;
      most_bytes_ = std::max(most_bytes_, token.content.size());
      if (id >= model().size()) bytes_.emplace_back();
      bytes_[id] = token.special ? "" : WithBlanks(token.content);
    }
    if (any_bytes) most_bytes_ = std::numeric_limits<size_t>::max();
  }

  absl::Status CheckChat() const override { return parts_.chat; }

  using Tokenizer::Encode;
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const TokenLimit& limit) const override {
    return EncodeParts(text, limit, /*special=*/true);
  }
  absl::StatusOr<std::vector<int32_t>> EncodeMessage(std::string_view text,
                                                     const TokenLimit& limit) const override {
    return EncodeParts(text, limit, /*special=*/false);
  }

  std::string TokenBytes(int32_t id) const override { return Knows(id) ? bytes_[id] : ""; }
  std::string Piece(int32_t id) const override {
    if (!Knows(id)) return "";
    return id < model().size() ? model().Piece(id) : parts_.added.Find(id)->content;
  }
  int vocab_size() const override { return static_cast<int>(bytes_.size()); }
  std::optional<int32_t> bos_id() const override {
    return parts_.adds_bos ? parts_.bos_id : std::nullopt;
  }
  std::optional<int32_t> chat_bos_id() const override { return parts_.bos_id; }
  std::optional<int32_t> eos_id() const override { return parts_.eos_id; }
  std::optional<int32_t> chat_eos_id() const override {
    return parts_.eos_id.has_value() ? parts_.eos_id : parts_.own_eos_id;
  }

 protected:
  LeadingBlanks leading_blanks() const override {
    if (parts_.keeps_blank) return LeadingBlanks::kKept;
    return model().spec().remove_extra_blanks ? LeadingBlanks::kAllDropped
                                              : LeadingBlanks::kOneDropped;
  }

 private:
  const SentencePieceModel& model() const { return *parts_.model; }
  bool Knows(int32_t id) const { return id >= 0 && id < vocab_size(); }

  // Of a part that begins where its text does, or behind an added token.
  bool HasPrefix(bool at_start) const {
    return parts_.prefix == BlankPrefix::kAlways ||
           (parts_.prefix == BlankPrefix::kFirst && at_start);
  }

  absl::StatusOr<std::vector<int32_t>> EncodeParts(std::string_view text, const TokenLimit& limit,
                                                   bool special) const {
    const size_t least = limit.taken + text.size() / most_bytes_;
    if (least > limit.tokens && !limit.keep_last) return TooManyTokens(least);
    if (!IsValidUtf8(text)) return absl::InvalidArgumentError("the text is not valid UTF-8");
    // Where a token is found depends on what stands before it, so all of them first.
    const std::vector<AddedTokens::Part> split = parts_.added.Split(text, special);
    if (limit.keep_last) {
      return LastIds(split, text, limit.tokens - std::min(limit.taken, limit.tokens));
    }
    return FirstIds(split, text, limit);
  }

  absl::StatusOr<std::vector<int32_t>> FirstIds(const std::vector<AddedTokens::Part>& split,
                                                std::string_view text,
                                                const TokenLimit& limit) const {
    const size_t most = limit.tokens - limit.taken;
    std::vector<int32_t> ids;
    for (const AddedTokens::Part& part : split) {
      if (part.id >= 0) ids.push_back(part.id);
      size_t least = ids.size();
      if (part.id < 0) {
        const bool prefix = HasPrefix(part.text.data() == text.data());
        least = model().Encode(part.text, &ids, most, prefix);
      }
      if (least > most) return TooManyTokens(limit.taken + least);
    }
    return ids;
  }

  absl::StatusOr<std::vector<int32_t>> LastIds(const std::vector<AddedTokens::Part>& split,
                                               std::string_view text, size_t count) const {
    std::vector<int32_t> ids;  // the last one first
    std::vector<int32_t> part_ids;
    for (auto part = split.rbegin(); part != split.rend() && ids.size() < count; ++part) {
      if (part->id >= 0) {
        ids.push_back(part->id);
        continue;
      }
      const bool prefix = HasPrefix(part->text.data() == text.data());
      if (!model().EncodeLast(part->text, count - ids.size(), &part_ids, prefix)) {
        return absl::InvalidArgumentError(absl::StrFormat(
            "the last tokens cannot be told apart without reading more than %d bytes that have no "
            "word boundary",
            SentencePieceModel::kMaxStretchBytes));
      }
      ids.insert(ids.end(), part_ids.rbegin(), part_ids.rend());
    }
    std::reverse(ids.begin(), ids.end());
    return ids;
  }

  const SentencePieceParts parts_;
  std::vector<std::string> bytes_;  // of every id: streams ask for one per token
  size_t most_bytes_;               // of a text that one id stands for
};

using PieceIds = std::unordered_map<std::string_view, int32_t>;

// Views into the model.
PieceIds PieceIdsOf(const SentencePieceModel& model) {
  PieceIds ids;
  for (int id = 0; id < model.size(); ++id) ids.emplace(model.Piece(id), id);
  return ids;
}

std::optional<int32_t> Find(const PieceIds& ids, const std::string& text) {
  const auto it = ids.find(text);
  return it == ids.end() ? std::nullopt : std::optional<int32_t>(it->second);
}

// What remains of the added tokens beside this vocabulary: texts of it and new ids behind it.
absl::StatusOr<AddedTokens> Beside(const SentencePieceModel& model, const PieceIds& pieces,
                                   const AddedTokens& files, const std::string& dir) {
  AddedTokens added;
  int next = model.size();
  const auto error = [&dir](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: added tokens: %s", dir, what));
  };
  for (const auto& [id, token] : files.all()) {
    const std::optional<int32_t> piece = Find(pieces, token.content);
    if (id < model.size() && piece != id) {
      return error(absl::StrFormat("token %d is added as '%s', and in the vocabulary it is '%s'",
                                   id, token.content, model.Piece(id)));
    }
    if (id >= model.size() && piece.has_value()) {
      return error(absl::StrFormat("token %d is added as '%s', which in the vocabulary is piece %d",
                                   id, token.content, *piece));
    }
    if (id >= model.size() && id != next++) {
      return error(absl::StrFormat(
          "token %d, '%s', leaves a gap: the vocabulary and what is added before end at %d", id,
          token.content, next - 2));
    }
    // Strings of the vocabulary's own control tokens, and of its bytes, are text.
    const bool text = !piece || model.KindOf(*piece) == SentencePieceModel::Kind::kText ||
                      model.KindOf(*piece) == SentencePieceModel::Kind::kUserDefined;
    if (text) SKIPSTONE_RETURN_IF_ERROR(added.Add(token));
  }
  added.Finish();
  return added;
}

absl::Status CheckChatTemplate(const TokenizerFiles& files) {
  if (files.chat_template.empty() || IsLlama2ChatTemplate(files.chat_template)) {
    return absl::OkStatus();
  }
  constexpr size_t kShown = 60;
  std::string begin = files.chat_template.substr(0, kShown);
  begin.resize(begin.size() - IncompleteUtf8Tail(begin));
  return absl::FailedPreconditionError(absl::StrFormat(
      "the chat template of %s is not Llama 2's, and no other is served; send text or token ids. "
      "It begins: %s",
      files.chat_template_file, begin));
}

// The eos_token that the files name, if they do.
absl::StatusOr<std::optional<int32_t>> EosId(const TokenizerFiles& files, const PieceIds& pieces,
                                             const std::string& dir) {
  if (!files.eos_token.has_value()) return std::nullopt;
  if (const auto id = Find(pieces, *files.eos_token)) return id;
  if (const int id = files.added.IdOf(*files.eos_token); id >= 0) return id;
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: the tokenizer's eos_token is '%s', which is no token of its vocabulary",
                      dir, *files.eos_token));
}

absl::Status CheckBos(std::optional<int32_t> bos_id, int pieces, const std::string& path) {
  if (!bos_id.has_value() || (*bos_id >= 0 && *bos_id < pieces)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("config.json: bos_token_id %d is outside the vocabulary of %d pieces in %s",
                      *bos_id, pieces, path));
}

// A prompt that has ended is seldom meant to be continued.
void WarnOfEnd(const std::string& dir, const std::string& key) {
  Log(LogSeverity::kWarning,
      absl::StrFormat("%s: the end-of-sequence token that %s puts behind a text is left out", dir,
                      key));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Join(SentencePieceParts parts,
                                                const TokenizerFiles& files, const std::string& dir,
                                                const std::string& path) {
  const PieceIds pieces = PieceIdsOf(*parts.model);
  SKIPSTONE_ASSIGN_OR_RETURN(parts.added, Beside(*parts.model, pieces, files.added, dir));
  SKIPSTONE_ASSIGN_OR_RETURN(parts.eos_id, EosId(files, pieces, dir));
  parts.own_eos_id = Find(pieces, parts.model->spec().eos_piece);
  parts.adds_bos = files.add_bos_token.value_or(parts.adds_bos);
  if (files.add_eos_token) WarnOfEnd(dir, "add_eos_token");
  parts.chat = CheckChatTemplate(files);
  const std::optional<int32_t> bos_id = parts.bos_id;
  std::unique_ptr<Tokenizer> tokenizer = std::make_unique<SentencePieceTokenizer>(std::move(parts));
  SKIPSTONE_RETURN_IF_ERROR(CheckBos(bos_id, tokenizer->vocab_size(), path));
  return tokenizer;
}

absl::Status NoModel(const std::string& path, const char* form, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrFormat("%s is no %s: %s", path, form, why));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> FromModel(const std::string& dir,
                                                     const TokenizerFiles& files,
                                                     std::optional<int32_t> bos_id) {
  const std::string path = dir + "/tokenizer.model";
  SKIPSTONE_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path));
  std::string error;
  SentencePieceParts parts{.model = SentencePieceModel::Parse(bytes, &error), .bos_id = bos_id};
  if (parts.model == nullptr) return NoModel(path, "SentencePiece model", error);
  const SentencePieceSpec& spec = parts.model->spec();
  std::optional<BlankPrefix> prefix = files.prefix;
  if (!prefix.has_value() && files.tokenizer_json.has_value()) {
    SKIPSTONE_ASSIGN_OR_RETURN(prefix, ReadBlankPrefix(*files.tokenizer_json));
  }
  // The form that files had before any said which.
  parts.prefix = prefix.value_or(BlankPrefix::kAlways);
  parts.keeps_blank =
      parts.prefix == BlankPrefix::kNever || (!spec.add_dummy_prefix && !spec.remove_extra_blanks);
  return Join(std::move(parts), files, dir, path);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> FromJson(const std::string& dir,
                                                    const TokenizerFiles& files,
                                                    std::optional<int32_t> bos_id) {
  const std::string path = dir + "/tokenizer.json";
  auto read = ReadTokenizerJson(*files.tokenizer_json);
  if (!read.ok()) return read.status();
  TokenizerJson json = *std::move(read);
  if (!json.other_form.empty()) {
    const auto& added = files.added.all();
    const int behind = added.empty() ? 0 : added.rbegin()->first + 1;
    const int eos_id = files.added.IdOf(files.eos_token.value_or(""));
    return MakeIdsOnlyTokenizer(
        json.tokens == 0 ? 0 : std::max(json.tokens, behind),
        eos_id < 0 ? std::nullopt : std::optional<int32_t>(eos_id),
        absl::FailedPreconditionError(absl::StrFormat(
            "this model is served by token ids only: of %s, %s, and only the SentencePiece BPE "
            "form of Llama 2 is read",
            path, json.other_form)));
  }
  std::string error;
  SentencePieceParts parts{.model = SentencePieceModel::Make(std::move(json.spec), &error),
                           .prefix = json.prefix,
                           .keeps_blank = !json.strips_blank,
                           .bos_id = bos_id,
                           .adds_bos = json.front != ""};
  if (parts.model == nullptr) return NoModel(path, "tokenizer of Llama 2's form", error);
  if (json.front.has_value() && !json.front->empty()) {
    parts.bos_id =
        Find(PieceIdsOf(*parts.model), *json.front).value_or(files.added.IdOf(*json.front));
  }
  if (!json.back.empty()) WarnOfEnd(dir, "the post_processor of tokenizer.json");
  return Join(std::move(parts), files, dir, path);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& dir,
                                                         std::optional<int32_t> bos_id) {
  SKIPSTONE_ASSIGN_OR_RETURN(TokenizerFiles files, ReadTokenizerFiles(dir));
  auto tokenizer = FromModel(dir, files, bos_id);
  if (!absl::IsNotFound(tokenizer.status())) return tokenizer;
  if (files.tokenizer_json.has_value()) return FromJson(dir, files, bos_id);
  return absl::NotFoundError(
      absl::StrFormat("there is neither %s/tokenizer.model nor a tokenizer.json beside it", dir));
}

}  // namespace skipstone
