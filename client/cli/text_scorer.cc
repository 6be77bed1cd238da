#include "client/cli/text_scorer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/str_format.h"

namespace skipstone::client {
namespace {

// Enough for the server to fill its steps, few enough that one call stays short.
constexpr size_t kWindowsPerCall = 16;

std::vector<v1::ScoreItem> CutIntoWindows(const v1::TokenizeResponse& tokens,
                                          std::optional<uint32_t> bos, uint32_t window) {
  const int step = static_cast<int>(window) - (bos ? 1 : 0);
  std::vector<v1::ScoreItem> windows;
  for (int begin = 0; begin < tokens.ids_size(); begin += step) {
    const int end = std::min(begin + step, tokens.ids_size());
    // Without a token before it, a single token has no probability.
    if (!bos && end - begin < 2) break;
    auto& ids = *windows.emplace_back().mutable_prompt()->mutable_token_ids();
    if (bos) ids.add_ids(*bos);
    for (int i = begin; i < end; ++i) ids.add_ids(tokens.ids(i));
  }
  return windows;
}

}  // namespace

double TextScore::Perplexity() const { return std::exp(NatsPerToken()); }

absl::Status TextScorer::ScoreWindows(const std::vector<v1::ScoreItem>& windows,
                                      const v1::Skip& skip,
                                      const std::function<void(const v1::Token&)>& on_token,
                                      TextScore& score) const {
  for (size_t begin = 0; begin < windows.size(); begin += kWindowsPerCall) {
    v1::ScoreRequest request;
    if (skip.choice_case() != v1::Skip::CHOICE_NOT_SET) *request.mutable_skip() = skip;
    for (size_t i = begin; i < std::min(begin + kWindowsPerCall, windows.size()); ++i) {
      *request.add_items() = windows[i];
    }
    const auto response = client_.Score(request, options_);
    if (!response.ok()) return response.status();
    score.skip = response->applied_skip().spec();
    for (const v1::ScoreResult& result : response->results()) {
      score.scored_tokens += result.tokens_size();
      score.logprob_sum += result.logprob_sum();
      score.kv_pages_used += result.kv_pages_used();
      score.kv_pages_omitted += result.kv_pages_omitted();
      for (const v1::Token& token : result.tokens()) {
        if (on_token) on_token(token);
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<TextScore> TextScorer::Score(
    const std::string& text, const v1::Skip& skip, uint32_t window,
    const std::function<void(const v1::Token&)>& on_token) const {
  const auto model = client_.GetModel(options_);
  if (!model.ok()) return model.status();
  v1::TokenizeRequest tokenize;
  tokenize.set_text(text);
  tokenize.set_add_special_tokens(false);
  const auto tokens = client_.Tokenize(tokenize, options_);
  if (!tokens.ok()) return tokens.status();

  TextScore score;
  score.window_tokens = std::min(window, model->max_context_tokens());
  if (score.window_tokens < 2) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the window must have at least 2 tokens, not %d", score.window_tokens));
  }
  std::optional<uint32_t> bos;
  if (model->has_bos_token_id()) bos = model->bos_token_id();
  const auto windows = CutIntoWindows(*tokens, bos, score.window_tokens);
  if (windows.empty()) return absl::InvalidArgumentError("the text has no tokens to score");
  score.windows = windows.size();
  const absl::Status status = ScoreWindows(windows, skip, on_token, score);
  if (!status.ok()) return status;
  return score;
}

}  // namespace skipstone::client
