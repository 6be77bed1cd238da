// The SentencePiece tokenizer of a Llama 2 model, with Hugging Face's rules for special tokens:
// a beginning-of-sequence token before text unless tokenizer_config.json says add_bos_token false,
// and control-token strings in text are text. Thread-safe.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace skipstone {

struct ChatTurn {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// How many ids the caller has use for: encoding stops there, so that its cost is theirs and not the
// text's.
struct TokenLimit {
  size_t tokens = std::numeric_limits<size_t>::max();
  size_t taken = 0;  // of them by what stands beside the text
  // Of a longer text the last `tokens` ids are returned; false: it is OUT_OF_RANGE.
  bool keep_last = false;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Ids of `text` alone, without special tokens. INVALID_ARGUMENT if it is not UTF-8, or if
  // `keep_last` would have to read too far back; OUT_OF_RANGE says how many tokens it has at least.
  virtual absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                                      const TokenLimit& limit) const = 0;
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text) const {
    return Encode(text, TokenLimit());
  }
  // The bytes that `id` stands for inside a text: "\u2581the" is " the", "<0x0A>" is "\n", control
  // tokens are empty, the unknown token is " \u2047 ". Empty for an id outside the vocabulary.
  virtual std::string TokenBytes(int32_t id) const = 0;
  // The vocabulary's own text of the id, such as "\u2581the".
  virtual std::string Piece(int32_t id) const = 0;
  virtual int vocab_size() const = 0;
  // What stands before a text prompt; none if the model has none or does not add it.
  virtual std::optional<int32_t> bos_id() const = 0;

  // Text of a whole sequence of ids, as SentencePiece decodes it: the leading blank that the
  // vocabulary adds is dropped, bytes that are not UTF-8 become U+FFFD.
  std::string Decode(std::span<const int32_t> ids) const;

  // The Llama-2-chat form:  BOS "[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{user} [/INST]" answer EOS
  // ... What a user's message holds, system text included, is stripped of blanks at its ends; so is
  // an answer. INVALID_ARGUMENT unless roles alternate from an optional system to a final user
  // message; the rest as Encode.
  absl::StatusOr<std::vector<int32_t>> EncodeChat(std::span<const ChatTurn> turns, int32_t eos_id,
                                                  const TokenLimit& limit = {}) const;

  // True for "\u2581the": at the start of a text its blank is the vocabulary's, not the text's.
  bool StartsWithVocabularyBlank(int32_t id) const;
};

// Reads tokenizer.model and, if present, tokenizer_config.json of `dir`. `bos_id` is config.json's.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& dir,
                                                         std::optional<int32_t> bos_id);

// The OUT_OF_RANGE of a text: "at least 4 tokens".
absl::Status TooManyTokens(size_t at_least);

// For synthetic models: id i is the text " i"; text is read as blank-separated numbers, anything
// else by bytes modulo the vocabulary.
std::unique_ptr<Tokenizer> MakeSyntheticTokenizer(int vocab_size);

}  // namespace skipstone
