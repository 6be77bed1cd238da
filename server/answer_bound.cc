#include "server/answer_bound.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/utf8.h"

namespace skipstone::server {
namespace {

// On the wire: an id, a log-probability, tag and length of a text, tag and length of the message.
constexpr int64_t kFieldsOfToken = 6 + 5 + 3 + 4;
// All of a result or output but its tokens and text.
constexpr int64_t kFieldsOfOutput = 1024;

absl::Status NeverFits(const char* field, int64_t bytes, const std::string& what) {
  return absl::ResourceExhaustedError(
      absl::StrFormat("%s: the answer can never fit %d bytes: %s may take %d", field,
                      kMaxAnswerBytes, what, bytes));
}

}  // namespace

int64_t LongestTokenText(const Tokenizer& tokenizer) {
  size_t longest = 0;
  for (int id = 0; id < tokenizer.vocab_size(); ++id) {
    longest = std::max(longest, ReplaceInvalidUtf8(tokenizer.TokenBytes(id)).size());
  }
  return static_cast<int64_t>(longest);
}

int64_t AnswerBound::Token(int alternatives) const {
  return (1 + std::max(0, alternatives)) * (kFieldsOfToken + text_);
}

absl::Status AnswerBound::CheckScore(int64_t items, int64_t scored_tokens, int alternatives) const {
  const int64_t bytes = items * kFieldsOfOutput + scored_tokens * Token(alternatives);
  if (bytes <= kMaxAnswerBytes) return absl::OkStatus();
  return NeverFits("items", bytes,
                   absl::StrFormat("%d tokens with top_logprobs %d (split the items over several "
                                   "calls)",
                                   scored_tokens, alternatives));
}

absl::Status AnswerBound::CheckGenerate(const v1::GenerateRequest& request,
                                        const EngineRequest& admitted, int max_context) const {
  const auto prompt = static_cast<int64_t>(admitted.prompt.size());
  int64_t drawn = std::max<int64_t>(0, max_context - prompt);
  if (admitted.stopping.max_tokens) drawn = std::min<int64_t>(drawn, *admitted.stopping.max_tokens);
  int64_t bytes = kFieldsOfOutput + drawn * text_;
  if (admitted.output.token_texts) bytes += drawn * Token(admitted.output.logprobs);
  if (admitted.output.prompt_logprobs >= 0)
    bytes += prompt * Token(admitted.output.prompt_logprobs);
  if (request.output().echo()) {
    bytes += std::max<int64_t>(prompt * text_, static_cast<int64_t>(request.text().size()));
  }
  bytes *= admitted.n;
  if (bytes <= kMaxAnswerBytes) return absl::OkStatus();
  return NeverFits(
      "output", bytes,
      absl::StrFormat("n %d outputs of %d tokens after %d of the prompt (ask for fewer, "
                      "or call GenerateStream)",
                      admitted.n, drawn, prompt));
}

}  // namespace skipstone::server
