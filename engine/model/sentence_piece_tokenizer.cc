#include "engine/model/sentence_piece_tokenizer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/utf8.h"

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

}  // namespace

std::unique_ptr<Tokenizer> MakeSentencePieceTokenizer(SentencePieceParts parts) {
  return std::make_unique<SentencePieceTokenizer>(std::move(parts));
}

}  // namespace skipstone
