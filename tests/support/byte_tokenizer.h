// A tokenizer whose vocabulary is a list of byte strings: id i is tokens[i]. It encodes nothing.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/model/tokenizer.h"

namespace skipstone {

class ByteTokenizer : public Tokenizer {
 public:
  explicit ByteTokenizer(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {}

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view, const TokenLimit&) const override {
    return absl::UnimplementedError("a ByteTokenizer only decodes");
  }
  std::string TokenBytes(int32_t id) const override { return tokens_.at(id); }
  std::string Piece(int32_t id) const override {
    const std::string& token = tokens_.at(id);
    return token.starts_with(' ') ? "\u2581" + token.substr(1) : token;
  }
  int vocab_size() const override { return static_cast<int>(tokens_.size()); }
  std::optional<int32_t> bos_id() const override { return std::nullopt; }

 private:
  const std::vector<std::string> tokens_;
};

}  // namespace skipstone
