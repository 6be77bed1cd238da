#include "engine/model/tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/utf8.h"

namespace skipstone {
namespace {

class IdsOnlyTokenizer : public Tokenizer {
 public:
  IdsOnlyTokenizer(int vocab_size, std::optional<int32_t> eos_id, absl::Status why)
      : vocab_size_(vocab_size), eos_id_(eos_id), why_(std::move(why)) {}

  absl::Status CheckText() const override { return why_; }
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view, const TokenLimit&) const override {
    return why_;
  }
  std::string TokenBytes(int32_t) const override { return ""; }
  std::string Piece(int32_t) const override { return ""; }
  int vocab_size() const override { return vocab_size_; }
  std::optional<int32_t> bos_id() const override { return std::nullopt; }
  std::optional<int32_t> eos_id() const override { return eos_id_; }

 private:
  const int vocab_size_;
  const std::optional<int32_t> eos_id_;
  const absl::Status why_;
};

}  // namespace

std::string Tokenizer::Decode(std::span<const int32_t> ids) const {
  std::string bytes;
  bool at_start = true;
  for (const int32_t id : ids) bytes += BytesAtStart(id, &at_start);
  return ReplaceInvalidUtf8(bytes);
}

std::string Tokenizer::BytesAtStart(int32_t id, bool* at_start) const {
  std::string bytes = TokenBytes(id);
  if (!*at_start || bytes.empty()) return bytes;
  const LeadingBlanks blanks = leading_blanks();
  if (blanks != LeadingBlanks::kKept && StartsWithVocabularyBlank(id)) bytes.erase(0, 1);
  *at_start = blanks == LeadingBlanks::kAllDropped && bytes.empty();
  return bytes;
}

absl::Status TooManyTokens(size_t at_least) {
  return absl::OutOfRangeError(absl::StrFormat("at least %d tokens", at_least));
}

bool Tokenizer::StartsWithVocabularyBlank(int32_t id) const {
  return Piece(id).rfind("\u2581", 0) == 0;
}

absl::StatusOr<int> PaddingIds(const Tokenizer& tokenizer, int model_vocab) {
  const int known = tokenizer.vocab_size();
  if (known == 0) return 0;
  if (known > model_vocab) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the tokenizer has %d pieces, config.json a vocab_size of %d: its last piece is %d, '%s'",
        known, model_vocab, known - 1, tokenizer.Piece(known - 1)));
  }
  // Trainers pad to multiples of 8, or of 64 and its doubles up to 256.
  const int missing = model_vocab - known;
  const int multiple = std::min(256, model_vocab & -model_vocab);
  const bool padding = multiple >= 64 ? missing <= multiple : multiple >= 8 && missing < 8;
  if (missing == 0 || padding) return missing;
  return absl::InvalidArgumentError(absl::StrFormat(
      "the tokenizer has %d pieces, added tokens included, and config.json a vocab_size of %d: the "
      "%d ids from %d on are neither added tokens nor padding to a multiple of 64, so the files do "
      "not belong together",
      known, model_vocab, missing, known));
}

std::unique_ptr<Tokenizer> MakeIdsOnlyTokenizer(int vocab_size, std::optional<int32_t> eos_id,
                                                absl::Status why) {
  return std::make_unique<IdsOnlyTokenizer>(vocab_size, eos_id, std::move(why));
}

}  // namespace skipstone
