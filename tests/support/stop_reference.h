// What a text stream must make of a whole output, by the definition: the text is known at once, so
// nothing is held back and nothing depends on how tokens divide it.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"

namespace skipstone {

struct StoppedText {
  std::string text;
  std::optional<std::string> stop;
};

// The stop string whose last character comes first; of several that end together the longest.
inline StoppedText StopReference(const std::string& bytes, const std::vector<std::string>& stops,
                                 bool include_stop) {
  const std::string text = ReplaceInvalidUtf8(bytes);
  for (size_t end = 1; end <= text.size(); ++end) {
    std::optional<std::string> longest;
    for (const std::string& stop : stops) {
      if (stop.empty() || !IsValidUtf8(stop)) continue;
      if (!std::string_view(text).substr(0, end).ends_with(stop)) continue;
      if (!longest || stop.size() > longest->size()) longest = stop;
    }
    if (longest) return {text.substr(0, include_stop ? end : end - longest->size()), longest};
  }
  return {text, std::nullopt};
}

// What may be shown of an unfinished output: all but an incomplete character, and but the longest
// end that begins a stop string.
inline std::string CertainText(const std::string& bytes, const std::vector<std::string>& stops) {
  const std::string text = ReplaceInvalidUtf8(
      std::string_view(bytes).substr(0, bytes.size() - IncompleteUtf8Tail(bytes)));
  size_t held = 0;
  for (const std::string& stop : stops) {
    if (stop.empty() || !IsValidUtf8(stop)) continue;
    for (size_t length = 1; length < stop.size(); ++length) {
      if (text.ends_with(stop.substr(0, length))) held = std::max(held, length);
    }
  }
  return text.substr(0, text.size() - held);
}

}  // namespace skipstone
