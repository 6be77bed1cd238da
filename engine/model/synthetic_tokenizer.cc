#include <algorithm>
#include <cctype>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/utf8.h"
#include "engine/model/tokenizer.h"

namespace skipstone {
namespace {

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

}  // namespace

std::unique_ptr<Tokenizer> MakeSyntheticTokenizer(int vocab_size) {
  return std::make_unique<SyntheticTokenizer>(vocab_size);
}

}  // namespace skipstone
