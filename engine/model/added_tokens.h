// Tokens that a fine-tune adds to the vocabulary of its tokenizer.model. As in Hugging Face's
// tokenizers their texts are found in a text before SentencePiece sees the rest. Immutable, so
// thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/model/prefix_matcher.h"

namespace skipstone {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool lstrip = false;     // takes the blanks before it
  bool rstrip = false;     // takes the blanks behind it
  bool normalized = true;  // found after those that are not
  bool special = false;    // decodes to nothing
};

class AddedTokens {
 public:
  // A part of a text: a token, or text for the tokenizer.
  struct Part {
    std::string_view text;
    int32_t id = -1;  // of an added token; -1: `text` is none
  };

  AddedTokens() = default;
  // INVALID_ARGUMENT for an empty content, and for two tokens of one id or content.
  absl::Status Add(AddedToken token);
  // After the last Add.
  void Finish();

  // Null, or -1, if it is none of them.
  const AddedToken* Find(int32_t id) const;
  int32_t IdOf(const std::string& content) const;
  // By id.
  const std::map<int32_t, AddedToken>& all() const { return tokens_; }

  // `text` in parts, in order: leftmost tokens first, the longest of those that begin at one place;
  // `normalized` ones only where no other was found. `special` false: without the special ones.
  std::vector<Part> Split(std::string_view text, bool special) const;

 private:
  void SplitBy(const PrefixMatcher& tokens, std::string_view text, std::vector<Part>* parts) const;

  std::map<int32_t, AddedToken> tokens_;
  std::map<std::string, int32_t> ids_;
  PrefixMatcher raw_[2];         // by special: only those that are not, all
  PrefixMatcher normalized_[2];  // likewise
};

}  // namespace skipstone
