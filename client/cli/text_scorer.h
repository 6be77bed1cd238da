// Scores a long text: cuts it into windows that fit the model's context, and adds up.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

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
  uint64_t kv_pages_windowed = 0;
  uint64_t kv_pages_omitted = 0;

  double NatsPerToken() const { return -logprob_sum / scored_tokens; }
  double Perplexity() const;
};

// Windows that do not overlap, of `window` tokens, the last one of what is left; each begins with
// `bos` if there is one. Items without a continuation: what follows the first token is scored.
std::vector<v1::ScoreItem> CutIntoWindows(const std::vector<uint32_t>& ids,
                                          std::optional<uint32_t> bos, uint32_t window);

// The text's tokens are cut into non-overlapping windows of min(`window`, context) tokens, each
// begun anew with the beginning-of-sequence token (if the model has one); every token is scored
// given those before it in its window. `on_token`, if set, sees each scored token in order.
// Text and windows are sent in as many calls as keep each small (16 windows, or less than 1 MiB);
// options, deadline and retries included, are those of each call. Blocks. Errors: those of the
// RPCs; a text without tokens; a window below 2 tokens.
class TextScorer {
 public:
  using OnToken = std::function<void(const v1::Token&)>;

  TextScorer(const Client& client, CallOptions options)
      : client_(client), options_(std::move(options)) {}

  // Called after each Score call with the windows that are done and all windows.
  void SetOnProgress(std::function<void(uint64_t, uint64_t)> on_progress) {
    on_progress_ = std::move(on_progress);
  }

  absl::StatusOr<TextScore> Score(const std::string& text, const v1::Skip& skip, uint32_t window,
                                  const OnToken& on_token) const;
  // The same for a text's ids. A beginning-of-sequence token at their front is not doubled.
  absl::StatusOr<TextScore> ScoreIds(std::vector<uint32_t> ids, const v1::Skip& skip,
                                     uint32_t window, const OnToken& on_token) const;

 private:
  using Windows = std::vector<v1::ScoreItem>;
  absl::StatusOr<TextScore> ScoreIds(const v1::GetModelResponse& model, std::vector<uint32_t> ids,
                                     const v1::Skip& skip, uint32_t window,
                                     const OnToken& on_token) const;
  absl::Status ScoreWindows(const Windows& windows, const v1::Skip& skip, const OnToken& on_token,
                            TextScore& score) const;

  const Client& client_;
  const CallOptions options_;
  std::function<void(uint64_t, uint64_t)> on_progress_;
};

}  // namespace skipstone::client
