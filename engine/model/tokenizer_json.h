// tokenizer.json, the one file that Hugging Face's fast tokenizers write. Llama 2's form of it, a
// SentencePiece BPE vocabulary with its list of merges, is read; other forms are named.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/model/json_fields.h"
#include "engine/model/sentence_piece.h"
#include "engine/model/tokenizer_files.h"

namespace skipstone {

// A blank goes before a text whether or not that begins with one, as SentencePiece has it in
// training; Hugging Face's Metaspace leaves it out there, and ids would depend on which of its
// files a model comes with.
struct TokenizerJson {
  // What makes it another form than Llama 2's, such as "its pre_tokenizer is ByteLevel"; else
  // empty. Of another form only `tokens` is filled in.
  std::string other_form;
  int tokens = 0;  // ids of the vocabulary without added ones; 0: unknown
  SentencePieceSpec spec;
  BlankPrefix prefix = BlankPrefix::kNever;
  bool strips_blank = false;  // decoding drops a blank at the start
  std::optional<std::string>
      front;         // what its post_processor puts there, if it has one; "": nothing
  std::string back;  // the same behind a text
};

// INVALID_ARGUMENT names what is broken or contradictory.
absl::StatusOr<TokenizerJson> ReadTokenizerJson(const JsonFields& file);

// Its BlankPrefix alone; nothing of another form.
absl::StatusOr<std::optional<BlankPrefix>> ReadBlankPrefix(const JsonFields& file);

}  // namespace skipstone
