#include "engine/model/tokenizer.h"

#include "absl/strings/str_format.h"
#include "engine/base/utf8.h"

namespace skipstone {

std::string Tokenizer::Decode(std::span<const int32_t> ids) const {
  std::string bytes;
  bool first = true;
  for (const int32_t id : ids) {
    std::string token = TokenBytes(id);
    if (token.empty()) continue;
    if (first && StartsWithVocabularyBlank(id)) token.erase(0, 1);
    first = false;
    bytes += token;
  }
  return ReplaceInvalidUtf8(bytes);
}

absl::Status TooManyTokens(size_t at_least) {
  return absl::OutOfRangeError(absl::StrFormat("at least %d tokens", at_least));
}

bool Tokenizer::StartsWithVocabularyBlank(int32_t id) const {
  return Piece(id).rfind("\u2581", 0) == 0;
}

}  // namespace skipstone
