// Turns one output's tokens into text deltas. Never splits a UTF-8 character, and holds back text
// that may be the beginning of a stop string until it cannot.
//
//   TextStream stream(tokenizer, {.stop_strings = {"\n\n"}});
//   std::string delta = stream.Add(id);
//   if (stream.matched_stop()) ...           // the output ends with this token
//   delta += stream.Flush();                 // at the end, for whatever reason
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/tokenizer.h"

namespace skipstone {

// Not thread-safe; one per output.
class TextStream {
 public:
  struct Options {
    std::vector<std::string> stop_strings;  // empty ones and such as are not UTF-8 never match
    bool include_stop = false;
    // False if text of the same sequence stands before (a text prompt): then the vocabulary's
    // leading blank of the first token is kept.
    bool at_start = false;
  };

  TextStream(const Tokenizer& tokenizer, Options options);

  // The text that became certain with this token. After a match nothing more is returned.
  std::string Add(int32_t id);
  // What is still held back, with incomplete characters as U+FFFD. Nothing after a match.
  std::string Flush();
  // The stop string that was found: the one whose last character comes first, and of several that
  // end together the longest. So it depends on the text alone, not on how tokens divide it.
  const std::optional<std::string>& matched_stop() const { return matched_stop_; }

 private:
  // Moves the stop string to matched_stop_ and cuts held_ there, if held_ contains one.
  void FindStop();
  // Bytes at the end of held_ that may begin a stop string.
  size_t UncertainTail() const;

  const Tokenizer& tokenizer_;
  Options options_;
  std::string partial_;  // bytes of an incomplete character
  std::string held_;     // whole characters that may begin a stop string
  std::optional<std::string> matched_stop_;
};

}  // namespace skipstone
