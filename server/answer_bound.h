// How large an answer may become, from what is asked alone: one that could not be sent is refused
// before any work. Upper bounds: every token taken for the longest of the vocabulary.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "engine/model/tokenizer.h"
#include "engine/request.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::server {

// Of a unary answer; documented in inference.proto.
inline constexpr int64_t kMaxAnswerBytes = int64_t{64} << 20;

// Bytes of the longest text of a token, as it is sent.
int64_t LongestTokenText(const Tokenizer& tokenizer);

class AnswerBound {
 public:
  explicit AnswerBound(int64_t longest_token_text) : text_(longest_token_text) {}

  // Of a v1::Token in its list, with so many alternatives.
  int64_t Token(int alternatives) const;
  // RESOURCE_EXHAUSTED that never fits, naming what to split.
  absl::Status CheckScore(int64_t items, int64_t scored_tokens, int alternatives) const;
  absl::Status CheckGenerate(const v1::GenerateRequest& request, const EngineRequest& admitted,
                             int max_context) const;

 private:
  const int64_t text_;
};

}  // namespace skipstone::server
