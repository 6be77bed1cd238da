// A Tokenizer from what was read of a model's files.
#pragma once

#include <memory>
#include <optional>

#include "engine/model/added_tokens.h"
#include "engine/model/sentence_piece.h"
#include "engine/model/tokenizer.h"
#include "engine/model/tokenizer_files.h"

namespace skipstone {

struct SentencePieceParts {
  std::unique_ptr<SentencePieceModel> model;
  AddedTokens added;  // finished; ids in the model are texts of it, the others follow without gaps
  BlankPrefix prefix = BlankPrefix::kAlways;
  bool keeps_blank = false;  // decoding keeps a blank at the start
  std::optional<int32_t> bos_id;
  bool adds_bos = true;               // before text prompts; chats have it at every turn
  std::optional<int32_t> eos_id;      // what the files name
  std::optional<int32_t> own_eos_id;  // the vocabulary's
  absl::Status chat;                  // what CheckChat says
};

std::unique_ptr<Tokenizer> MakeSentencePieceTokenizer(SentencePieceParts parts);

}  // namespace skipstone
