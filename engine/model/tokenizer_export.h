// A model's tokenizer in the files of Hugging Face's tokenizers, for gateways that turn texts into
// ids and ids into texts before and behind this process.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace skipstone {

// Name and content of each: tokenizer.json, and tokenizer_config.json with a chat template.
using TokenizerFileTexts = std::vector<std::pair<std::string, std::string>>;

// Of the model in `dir`. Of Llama 2's form they give the ids that Tokenizer::Encode does and the
// chats of Llama 2 where the model has no template, with two differences to what models come with.
// Control tokens, and special added ones, are named by their id and `nonce`: whoever does not know
// it cannot write one, and "<s>" in a text is text; decoded they show their old names. (Behind an
// added token a blank is put in front of the text, also where the files say `legacy: false`.) And
// decoding keeps a blank in front, since what is decoded continues a text. A tokenizer.json of
// another form, and what lies beside it, is handed on as it is. NOT_FOUND, INVALID_ARGUMENT as
// OpenTokenizer.
absl::StatusOr<TokenizerFileTexts> ExportTokenizer(const std::string& dir,
                                                   const std::string& nonce);

}  // namespace skipstone
