#include "engine/model/sentence_piece_tokenizer.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "engine/base/utf8.h"

namespace skipstone {
namespace {

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
    for (const auto& [id, token] : parts_.added.all()) {
      if (id >= model().size()) bytes_.emplace_back();
      bytes_[id] = token.special ? "" : WithBlanks(token.content);
    }
  }

  absl::Status CheckChat() const override { return parts_.chat; }

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text) const override {
    return EncodeParts(text, /*special=*/true);
  }
  absl::StatusOr<std::vector<int32_t>> EncodeMessage(std::string_view text) const override {
    return EncodeParts(text, /*special=*/false);
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

  absl::StatusOr<std::vector<int32_t>> EncodeParts(std::string_view text, bool special) const {
    if (!IsValidUtf8(text)) return absl::InvalidArgumentError("the text is not valid UTF-8");
    std::vector<int32_t> ids;
    for (const AddedTokens::Part& part : parts_.added.Split(text, special)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
        continue;
      }
      const bool first = part.text.data() == text.data();
      model().Encode(
          part.text, &ids,
          parts_.prefix == BlankPrefix::kAlways || (parts_.prefix == BlankPrefix::kFirst && first));
    }
    return ids;
  }

  const SentencePieceParts parts_;
  std::vector<std::string> bytes_;  // of every id: streams ask for one per token
};

}  // namespace

std::unique_ptr<Tokenizer> MakeSentencePieceTokenizer(SentencePieceParts parts) {
  return std::make_unique<SentencePieceTokenizer>(std::move(parts));
}

}  // namespace skipstone
