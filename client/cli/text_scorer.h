// Scores a long text: cuts it into windows that fit the model's context, and adds up.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/client.h"

namespace skipstone::client {

struct TextScore {
  std::string skip;  // canonical spec that ran
  uint64_t windows = 0;
  uint32_t window_tokens = 0;  // with the beginning-of-sequence token
  uint64_t scored_tokens = 0;
  double logprob_sum = 0;      // natural log
  uint64_t kv_pages_used = 0;  // summed over windows
  uint64_t kv_pages_omitted = 0;

  double NatsPerToken() const { return -logprob_sum / scored_tokens; }
  double Perplexity() const;
};

// The text's tokens are cut into non-overlapping windows of min(`window`, context) tokens, each
// begun anew with the beginning-of-sequence token (if the model has one); every token is scored
// given those before it in its window. `on_token`, if set, sees each scored token in order.
// Blocks. Errors: those of the RPCs; a text without tokens; a window below 2 tokens.
class TextScorer {
 public:
  TextScorer(const Client& client, CallOptions options)
      : client_(client), options_(std::move(options)) {}

  absl::StatusOr<TextScore> Score(const std::string& text, const v1::Skip& skip, uint32_t window,
                                  const std::function<void(const v1::Token&)>& on_token) const;

 private:
  absl::Status ScoreWindows(const std::vector<v1::ScoreItem>& windows, const v1::Skip& skip,
                            const std::function<void(const v1::Token&)>& on_token,
                            TextScore& score) const;

  const Client& client_;
  const CallOptions options_;
};

}  // namespace skipstone::client
