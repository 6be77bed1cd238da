#include "client/cli/text_tokenizer.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace skipstone::client {
namespace {

// Behind a cut, more than any piece of a vocabulary reaches.
constexpr size_t kAroundBytes = 512;
// Each costs a few small calls. Between words the first will do.
constexpr int kMostTries = 32;

bool IsSpace(char c) { return absl::ascii_isspace(static_cast<unsigned char>(c)); }

// Where a UTF-8 character begins, at `at` or before.
size_t CharacterStart(std::string_view text, size_t at) {
  while (at > 0 && at < text.size() && (text[at] & 0xC0) == 0x80) --at;
  return at;
}

// A single blank, or the first of several line ends.
bool IsBetweenWords(std::string_view text, size_t at) {
  if (IsSpace(text[at - 1]) || at + 1 >= text.size()) return false;
  return text[at] == '\n' || (text[at] == ' ' && !IsSpace(text[at + 1]));
}

// Two characters that differ: within a run of equal ones the ids depend on where it began.
bool IsBetweenCharacters(std::string_view text, size_t at) {
  if (CharacterStart(text, at) != at) return false;
  const size_t before = CharacterStart(text, at - 1);
  return text.substr(before, at - before) != text.substr(at, at - before);
}

// The largest place in (low, high] that is such a one; `low` if there is none.
template <typename Predicate>
size_t LastPlace(std::string_view text, size_t low, size_t high, Predicate is_place) {
  while (high > low && !is_place(text, high)) --high;
  return high;
}

}  // namespace

absl::StatusOr<std::vector<uint32_t>> TextTokenizer::Call(std::string_view text) const {
  v1::TokenizeRequest request;
  request.set_text(text.data(), text.size());
  request.set_add_special_tokens(false);
  SKIPSTONE_ASSIGN_OR_RETURN(const v1::TokenizeResponse response,
                             client_.Tokenize(request, options_));
  return Ids(response.ids().begin(), response.ids().end());
}

absl::StatusOr<TextTokenizer::Cut> TextTokenizer::TryCut(std::string_view text, size_t begin,
                                                         size_t end) const {
  const size_t from = CharacterStart(text, begin);
  const size_t to = CharacterStart(text, std::min(text.size(), end + kAroundBytes));
  SKIPSTONE_ASSIGN_OR_RETURN(const Ids whole, Call(text.substr(from, to - from)));
  SKIPSTONE_ASSIGN_OR_RETURN(const Ids left, Call(text.substr(from, end - from)));
  const auto [left_end, rest] = std::mismatch(left.begin(), left.end(), whole.begin(), whole.end());
  if (left_end != left.end()) return Cut{};
  for (const size_t blank : {1, 0}) {
    if (blank == 1 && text[end] != ' ') continue;
    SKIPSTONE_ASSIGN_OR_RETURN(const Ids right, Call(text.substr(end + blank, to - end - blank)));
    for (size_t surplus = 0; surplus <= std::min<size_t>(1, right.size()); ++surplus) {
      if (std::equal(right.begin() + surplus, right.end(), rest, whole.end())) {
        return Cut{.end = end, .next = end + blank, .surplus = surplus};
      }
    }
  }
  return Cut{};
}

absl::StatusOr<TextTokenizer::Cut> TextTokenizer::FindCut(std::string_view text,
                                                          size_t begin) const {
  const size_t low = begin + bytes_per_call_ / 2;
  for (const auto is_place : {IsBetweenWords, IsBetweenCharacters}) {
    size_t high = begin + bytes_per_call_ - kAroundBytes;
    for (int i = 0; i < kMostTries; ++i) {
      const size_t place = LastPlace(text, low, high, is_place);
      if (place == low) break;
      // Nearby first: most that fail fail there, and it costs little.
      auto cut = TryCut(text, std::max(begin, place - kAroundBytes), place);
      if (cut.ok() && cut->end > 0) cut = TryCut(text, begin, place);
      if (!cut.ok() || cut->end > 0) return cut;
      high = place - 1;
    }
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("the text of %d bytes takes several calls, and before byte %d there is no "
                      "place to cut it that keeps its tokens; give a part of it, or --ids",
                      text.size(), begin + bytes_per_call_));
}

absl::StatusOr<std::vector<uint32_t>> TextTokenizer::Tokenize(std::string_view text) const {
  Ids ids;
  size_t begin = 0;
  size_t surplus = 0;
  while (true) {
    Cut cut{.end = text.size()};
    const bool last = text.size() - begin <= bytes_per_call_;
    if (!last) {
      SKIPSTONE_ASSIGN_OR_RETURN(cut, FindCut(text, begin));
    }
    SKIPSTONE_ASSIGN_OR_RETURN(const Ids part, Call(text.substr(begin, cut.end - begin)));
    ids.insert(ids.end(), part.begin() + std::min(surplus, part.size()), part.end());
    if (last) return ids;
    begin = cut.next;
    surplus = cut.surplus;
  }
}

}  // namespace skipstone::client
