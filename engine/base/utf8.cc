#include "engine/base/utf8.h"

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

}  // namespace

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
    text += c.complete ? bytes.substr(i, c.length) : std::string_view("\xEF\xBF\xBD");
    i += c.length;
  }
  return text;
}

}  // namespace skipstone
