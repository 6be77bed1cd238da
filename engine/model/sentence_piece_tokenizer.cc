#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "engine/base/status.h"
#include "engine/base/utf8.h"
#include "engine/model/json_fields.h"
#include "engine/model/read_file.h"
#include "engine/model/sentence_piece.h"
#include "engine/model/tokenizer.h"

namespace skipstone {
namespace {

std::string BytesOf(const SentencePieceModel& model, int id) {
  const std::string& piece = model.Piece(id);
  switch (model.KindOf(id)) {
    case SentencePieceModel::Kind::kControl:
      return "";
    case SentencePieceModel::Kind::kUnknown:
      return " \u2047 ";  // as SentencePiece decodes it
    case SentencePieceModel::Kind::kByte: {
      int byte = 0;  // "<0x0A>"
      const bool hex = piece.size() == 6 && absl::SimpleHexAtoi(piece.substr(3, 2), &byte);
      return hex ? std::string(1, static_cast<char>(byte)) : piece;
    }
    case SentencePieceModel::Kind::kText:
      break;
  }
  return absl::StrReplaceAll(piece, {{"\u2581", " "}});
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<SentencePieceModel> model, std::optional<int32_t> bos_id)
      : model_(std::move(model)), bos_id_(bos_id) {
    for (int id = 0; id < model_->size(); ++id) bytes_.push_back(BytesOf(*model_, id));
  }

  using Tokenizer::Encode;
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const TokenLimit& limit) const override {
    const size_t least = limit.taken + text.size() / model_->longest_piece_bytes();
    if (least > limit.tokens && !limit.keep_last) return TooManyTokens(least);
    if (!IsValidUtf8(text)) return absl::InvalidArgumentError("the text is not valid UTF-8");
    std::vector<int32_t> ids;
    const size_t most = limit.tokens - std::min(limit.taken, limit.tokens);
    if (limit.keep_last) {
      if (model_->EncodeLast(text, most, &ids)) return ids;
      return absl::InvalidArgumentError(absl::StrFormat(
          "the last tokens cannot be told apart without reading more than %d bytes that have no "
          "word boundary",
          SentencePieceModel::kMaxStretchBytes));
    }
    model_->Encode(text, &ids, most);
    if (ids.size() > most) return TooManyTokens(limit.taken + ids.size());
    return ids;
  }

  std::string TokenBytes(int32_t id) const override { return Knows(id) ? bytes_[id] : ""; }
  std::string Piece(int32_t id) const override { return Knows(id) ? model_->Piece(id) : ""; }
  int vocab_size() const override { return model_->size(); }
  std::optional<int32_t> bos_id() const override { return bos_id_; }

 private:
  bool Knows(int32_t id) const { return id >= 0 && id < model_->size(); }

  std::unique_ptr<SentencePieceModel> model_;
  std::optional<int32_t> bos_id_;
  std::vector<std::string> bytes_;  // of every id: streams ask for one per token
};

// tokenizer_config.json's add_bos_token; true where the file or the key is missing.
absl::StatusOr<bool> AddsBos(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return true;
  if (!text.ok()) return text.status();
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields config, JsonFields::Parse(*text, path));
  return config.Bool("add_bos_token", true);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& dir,
                                                         std::optional<int32_t> bos_id) {
  const std::string path = dir + "/tokenizer.model";
  SKIPSTONE_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path));
  std::string error;
  std::unique_ptr<SentencePieceModel> model = SentencePieceModel::Parse(bytes, &error);
  if (model == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s is no SentencePiece model: %s", path, error));
  }
  if (bos_id.has_value() && (*bos_id < 0 || *bos_id >= model->size())) {
    return absl::InvalidArgumentError(
        absl::StrFormat("config.json: bos_token_id %d is outside the vocabulary of %d pieces in %s",
                        *bos_id, model->size(), path));
  }
  SKIPSTONE_ASSIGN_OR_RETURN(bool adds_bos, AddsBos(dir + "/tokenizer_config.json"));
  if (!adds_bos) bos_id.reset();
  return std::make_unique<SentencePieceTokenizer>(std::move(model), bos_id);
}

}  // namespace skipstone
