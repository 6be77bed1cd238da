#include "base/utf8.h"

#include <algorithm>
#include <cstdint>

namespace skipstone {
namespace {

struct Decoded {
  size_t length;  // bytes of a whole character, or of the longest valid beginning of one
  bool complete;
  bool could_complete;  // the text ended inside a character
};

// Reads one character at `i` < bytes.size().
Decoded DecodeAt(std::string_view bytes, size_t i) {
  const auto byte = [&](size_t k) { return static_cast<uint8_t>(bytes[i + k]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {1, true, false};
  const size_t wanted = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : lead >= 0xE0 && lead <= 0xEF ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  if (wanted == 0) return {1, false, false};
  for (size_t k = 1; k < wanted; ++k) {
    if (i + k == bytes.size()) return {k, false, true};
    // The second byte's range excludes overlong forms, surrogates and what lies above U+10FFFF.
    const uint8_t low = k > 1 ? 0x80 : lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = k > 1 ? 0xBF : lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (byte(k) < low || byte(k) > high) return {k, false, false};
  }
  return {wanted, true, false};
}

// Bytes of the blank that `text` begins or ends with; 0 if it is none.
size_t BlankAt(std::string_view text, bool at_end) {
  if (text.empty()) return 0;
  const char byte = at_end ? text.back() : text.front();
  if (byte == ' ' || (byte >= 0x09 && byte <= 0x0D) || (byte >= 0x1C && byte <= 0x1F)) return 1;
  static constexpr std::string_view kWide[] = {"\u0085", "\u00A0", "\u1680", "\u2000", "\u2001",
                                               "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
                                               "\u2007", "\u2008", "\u2009", "\u200A", "\u2028",
                                               "\u2029", "\u202F", "\u205F", "\u3000"};
  for (const std::string_view blank : kWide) {
    if (at_end ? text.ends_with(blank) : text.starts_with(blank)) return blank.size();
  }
  return 0;
}

}  // namespace

int CountCharacters(std::string_view utf8) {
  return static_cast<int>(std::ranges::count_if(
      utf8, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

bool IsValidUtf8(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size();) {
    const Decoded c = DecodeAt(bytes, i);
    if (!c.complete) return false;
    i += c.length;
  }
  return true;
}

size_t IncompleteUtf8Tail(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size();) {
    const Decoded c = DecodeAt(bytes, i);
    if (c.could_complete) return bytes.size() - i;
    i += c.length;
  }
  return 0;
}

std::string ReplaceInvalidUtf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size();) {
    const Decoded c = DecodeAt(bytes, i);
    if (c.complete) text += bytes.substr(i, c.length);
    for (size_t k = 0; k < c.length && !c.complete; ++k) text += "\xEF\xBF\xBD";
    i += c.length;
  }
  return text;
}

size_t BlanksAtStart(std::string_view text) {
  size_t blanks = 0;
  while (const size_t size = BlankAt(text.substr(blanks), /*at_end=*/false)) blanks += size;
  return blanks;
}

size_t BlanksAtEnd(std::string_view text) {
  size_t blanks = 0;
  while (const size_t size = BlankAt(text.substr(0, text.size() - blanks), /*at_end=*/true)) {
    blanks += size;
  }
  return blanks;
}

}  // namespace skipstone
