// Joins the files of a model's tokenizer.
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/status.h"
#include "base/utf8.h"
#include "engine/model/read_file.h"
#include "engine/model/sentence_piece_tokenizer.h"
#include "engine/model/tokenizer.h"
#include "engine/model/tokenizer_json.h"

namespace skipstone {
namespace {

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
  auto tokenizer = MakeSentencePieceTokenizer(std::move(parts));
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
