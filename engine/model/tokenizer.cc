#include "engine/model/tokenizer.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/status.h"
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

class SyntheticTokenizer : public Tokenizer {
 public:
  explicit SyntheticTokenizer(int vocab_size) : vocab_size_(vocab_size) {
    SKIPSTONE_CHECK(vocab_size > 0);
  }

  using Tokenizer::Encode;
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const TokenLimit& limit) const override {
    if (!IsValidUtf8(text)) return absl::InvalidArgumentError("the text is not valid UTF-8");
    const size_t most = limit.tokens - std::min(limit.taken, limit.tokens);
    std::vector<int32_t> ids;
    for (size_t begin = text.find_first_not_of(' '); begin != std::string_view::npos;) {
      const size_t end = std::min(text.find(' ', begin), text.size());
      AppendWord(text.substr(begin, end - begin), &ids);
      if (ids.size() > most && !limit.keep_last) {
        return TooManyTokens(limit.taken + ids.size());
      }
      begin = text.find_first_not_of(' ', end);
    }
    if (ids.size() > most) ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(most));
    return ids;
  }

  std::string TokenBytes(int32_t id) const override {
    return Knows(id) ? absl::StrFormat(" %d", id) : "";
  }
  std::string Piece(int32_t id) const override {
    return Knows(id) ? absl::StrFormat("\u2581%d", id) : "";
  }
  int vocab_size() const override { return vocab_size_; }
  std::optional<int32_t> bos_id() const override { return std::nullopt; }

 private:
  bool Knows(int32_t id) const { return id >= 0 && id < vocab_size_; }

  void AppendWord(std::string_view word, std::vector<int32_t>* ids) const {
    int32_t id = 0;
    const bool digits =
        std::all_of(word.begin(), word.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
    if (digits && absl::SimpleAtoi(absl::string_view(word.data(), word.size()), &id) &&
        id < vocab_size_) {
      ids->push_back(id);
      return;
    }
    for (const char c : word) ids->push_back(static_cast<uint8_t>(c) % vocab_size_);
  }

  const int vocab_size_;
};

std::string Stripped(std::string_view text) {
  text.remove_prefix(BlanksAtStart(text));
  text.remove_suffix(BlanksAtEnd(text));
  return std::string(text);
}

// `index` counts the messages after the system's.
absl::Status CheckRole(const ChatTurn& turn, size_t index) {
  const char* const wanted = index % 2 == 0 ? "user" : "assistant";
  if (turn.role == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "chat message %d after the system's has the role '%.40s', '%s' is needed: an optional system "
      "message, then user and assistant in turn",
      index, turn.role, wanted));
}

// The question that `turns` start with, and its answer if there is one.
std::string TextOf(std::span<const ChatTurn> turns, const std::string& system) {
  std::string text = "[INST] " + Stripped(system + turns[0].content) + " [/INST]";
  if (turns.size() > 1) text += " " + Stripped(turns[1].content) + " ";
  return text;
}

}  // namespace

size_t ContinuationStart(std::span<const int32_t> text, std::span<const int32_t> both) {
  return std::ranges::mismatch(text, both).in2 - both.begin();
}

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

std::unique_ptr<Tokenizer> MakeSyntheticTokenizer(int vocab_size) {
  return std::make_unique<SyntheticTokenizer>(vocab_size);
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeChat(std::span<const ChatTurn> turns,
                                                           std::optional<int32_t> eos_id,
                                                           const TokenLimit& limit) const {
  SKIPSTONE_RETURN_IF_ERROR(CheckChat());
  if (chat_eos_id().has_value()) eos_id = chat_eos_id();
  if (!eos_id.has_value()) {
    return absl::InvalidArgumentError("the model has no end-of-sequence token");
  }
  std::string system;
  if (!turns.empty() && turns.front().role == "system") {
    system = "<<SYS>>\n" + turns.front().content + "\n<</SYS>>\n\n";
    turns = turns.subspan(1);
  }
  if (turns.size() % 2 == 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "chat has %d messages after the system's; the last must be the user's", turns.size()));
  }
  for (size_t i = 0; i < turns.size(); ++i) SKIPSTONE_RETURN_IF_ERROR(CheckRole(turns[i], i));
  // A question and its answer are one text to the tokenizer, as in the model's training.
  const size_t texts = (turns.size() + 1) / 2;
  std::vector<std::vector<int32_t>> parts(texts);
  size_t tokens = 0;
  for (size_t step = 0; step < texts && (!limit.keep_last || tokens < limit.tokens); ++step) {
    // The last ones first, where only they are kept.
    const size_t text = limit.keep_last ? texts - 1 - step : step;
    std::vector<int32_t>& ids = parts[text];
    const bool answered = text * 2 + 1 < turns.size();
    const size_t special = (chat_bos_id().has_value() ? 1 : 0) + (answered ? 1 : 0);
    TokenLimit rest = limit;
    rest.taken = limit.keep_last ? tokens : limit.taken + tokens + special;
    SKIPSTONE_ASSIGN_OR_RETURN(
        ids, EncodeMessage(TextOf(turns.subspan(text * 2), text == 0 ? system : ""), rest));
    if (chat_bos_id().has_value()) ids.insert(ids.begin(), *chat_bos_id());
    if (answered) ids.push_back(*eos_id);
    tokens += ids.size();
  }
  std::vector<int32_t> ids;
  ids.reserve(tokens);
  for (const auto& part : parts) ids.insert(ids.end(), part.begin(), part.end());
  if (limit.keep_last && ids.size() > limit.tokens) {
    ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(limit.tokens));
  }
  return ids;
}

}  // namespace skipstone
