// The tokenizer of a Llama 2 model, with Hugging Face's rules for special tokens: a
// beginning-of-sequence token before text unless tokenizer_config.json says add_bos_token false.
// Strings of the vocabulary's own control tokens are text in a text; those of added tokens are
// these tokens, but in a chat's messages the special ones are text too. Thread-safe.
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

  // OK, or why the vocabulary's form is not served and text is not either: FAILED_PRECONDITION.
  // Then Encode and EncodeChat fail with it, and texts of ids are empty.
  virtual absl::Status CheckText() const { return absl::OkStatus(); }
  // The same for chats: they fail too where the model has another chat template than Llama 2's.
  virtual absl::Status CheckChat() const { return CheckText(); }

  // Ids of `text` alone, without what stands before it. INVALID_ARGUMENT if it is not UTF-8, or if
  // `keep_last` would have to read too far back; OUT_OF_RANGE says how many tokens it has at least.
  virtual absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                                      const TokenLimit& limit) const = 0;
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text) const {
    return Encode(text, TokenLimit());
  }
  // The same for text that others wrote: strings of special tokens in it are text.
  virtual absl::StatusOr<std::vector<int32_t>> EncodeMessage(std::string_view text,
                                                             const TokenLimit& limit) const {
    return Encode(text, limit);
  }
  // The bytes that `id` stands for inside a text: "\u2581the" is " the", "<0x0A>" is "\n", control
  // and special tokens are empty, the unknown token is " \u2047 ". Empty for an id outside the
  // vocabulary.
  virtual std::string TokenBytes(int32_t id) const = 0;
  // The vocabulary's own text of the id, such as "\u2581the".
  virtual std::string Piece(int32_t id) const = 0;
  // Ids that stand for something: the model may have more, as padding. 0: unknown.
  virtual int vocab_size() const = 0;
  // What stands before a text prompt; none if the model has none or does not add it.
  virtual std::optional<int32_t> bos_id() const = 0;
  // What stands before each turn of a chat; none if the model has none.
  virtual std::optional<int32_t> chat_bos_id() const { return bos_id(); }
  // The eos_token of the tokenizer's files, if they name one.
  virtual std::optional<int32_t> eos_id() const { return std::nullopt; }
  // What ends a turn of a chat: that, else the vocabulary's own.
  virtual std::optional<int32_t> chat_eos_id() const { return eos_id(); }

  // Text of a whole sequence of ids, as SentencePiece decodes it: the leading blank that the
  // vocabulary adds is dropped, bytes that are not UTF-8 become U+FFFD.
  std::string Decode(std::span<const int32_t> ids) const;
  // TokenBytes of an id, where *at_start at the start of a text: without the vocabulary's blank.
  // Sets *at_start to whether the next id is still there.
  std::string BytesAtStart(int32_t id, bool* at_start) const;

  // The Llama-2-chat form:  BOS "[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{user} [/INST]" answer EOS
  // ... What a user's message holds, system text included, is stripped of blanks at its ends, as
  // Python's str.strip() does; so is an answer. `eos_id` counts where the tokenizer knows none.
  // INVALID_ARGUMENT unless roles alternate from an optional system to a final user message; the
  // rest as Encode.
  absl::StatusOr<std::vector<int32_t>> EncodeChat(std::span<const ChatTurn> turns,
                                                  std::optional<int32_t> eos_id,
                                                  const TokenLimit& limit = {}) const;

  // True for "\u2581the": at the start of a text its blank is the vocabulary's, not the text's.
  bool StartsWithVocabularyBlank(int32_t id) const;

 protected:
  // What decoding drops at the start of a text: nothing, a blank, all of them.
  enum class LeadingBlanks { kKept, kOneDropped, kAllDropped };
  virtual LeadingBlanks leading_blanks() const { return LeadingBlanks::kOneDropped; }
};

// Reads what `dir` has of tokenizer.model, else tokenizer.json, and the files beside it
// (tokenizer_files.h). `bos_id` is config.json's. NOT_FOUND if there is neither; INVALID_ARGUMENT
// names what is broken, contradictory or not served. A tokenizer.json of another form than Llama
// 2's gives a tokenizer whose CheckText says so.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& dir,
                                                         std::optional<int32_t> bos_id);

// Where what continues a text begins in the ids of both together: where they part from those of the
// text alone, since a token may span the seam.
size_t ContinuationStart(std::span<const int32_t> text, std::span<const int32_t> both);

// The OUT_OF_RANGE of a text: "at least 4 tokens".
absl::Status TooManyTokens(size_t at_least);

// How many of a model's ids the tokenizer does not know. INVALID_ARGUMENT if it knows more ids than
// there are, or if those it lacks are more than what pads a vocabulary to a round number.
absl::StatusOr<int> PaddingIds(const Tokenizer& tokenizer, int model_vocab);

// Whether a chat template in Jinja writes what EncodeChat does.
bool IsLlama2ChatTemplate(std::string_view text);

// Knows nothing but ids. `why` is what CheckText says.
std::unique_ptr<Tokenizer> MakeIdsOnlyTokenizer(int vocab_size, std::optional<int32_t> eos_id,
                                                absl::Status why);

// For synthetic models: id i is the text " i"; text is read as blank-separated numbers, anything
// else by bytes modulo the vocabulary.
std::unique_ptr<Tokenizer> MakeSyntheticTokenizer(int vocab_size);

}  // namespace skipstone
