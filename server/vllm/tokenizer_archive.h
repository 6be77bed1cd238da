// A model's tokenizer as one zip archive, which is how vLLM's dialect hands it to gateways.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/model/tokenizer_export.h"

namespace skipstone::server {

struct TokenizerArchive {
  std::string bytes;
  std::string sha256;  // of them, in hexadecimal digits
};

// The files stored, without compression: they are read once by each gateway.
TokenizerArchive ArchiveOf(const TokenizerFileTexts& files);

// Of the model in `dir`, with a nonce that this process keeps to itself. The errors of
// ExportTokenizer.
absl::StatusOr<TokenizerArchive> OpenTokenizerArchive(const std::string& dir);

}  // namespace skipstone::server
