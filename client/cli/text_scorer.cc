#include "client/cli/text_scorer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "client/cli/text_tokenizer.h"

namespace skipstone::client {
namespace {

// Enough for the server to fill its steps, few enough that one call stays short.
constexpr size_t kWindowsPerCall = 16;
// At up to 5 bytes an id a request of 320 KiB, and an answer of a few MiB.
constexpr size_t kTokensPerCall = 65'536;

}  // namespace

std::vector<v1::ScoreItem> CutIntoWindows(const std::vector<uint32_t>& ids,
                                          std::optional<uint32_t> bos, uint32_t window) {
  const size_t step = window - (bos ? 1 : 0);
  std::vector<v1::ScoreItem> windows;
  for (size_t begin = 0; begin < ids.size(); begin += step) {
    const size_t end = std::min(begin + step, ids.size());
    // Without a token before it, a single token has no probability.
    if (!bos && end - begin < 2) break;
    auto& items = *windows.emplace_back().mutable_prompt()->mutable_token_ids()->mutable_ids();
    if (bos) items.Add(*bos);
    items.Add(ids.begin() + begin, ids.begin() + end);
  }
  return windows;
}

double TextScore::Perplexity() const { return std::exp(NatsPerToken()); }

absl::Status TextScorer::ScoreWindows(const Windows& windows, const v1::Skip& skip,
                                      const OnToken& on_token, TextScore& score) const {
  for (size_t next = 0; next < windows.size();) {
    v1::ScoreRequest request;
    if (skip.choice_case() != v1::Skip::CHOICE_NOT_SET) *request.mutable_skip() = skip;
    size_t tokens = 0;
    for (size_t i = 0; i < kWindowsPerCall && next < windows.size(); ++i) {
      tokens += windows[next].prompt().token_ids().ids_size();
      if (i > 0 && tokens > kTokensPerCall) break;
      *request.add_items() = windows[next++];
    }
    SKIPSTONE_ASSIGN_OR_RETURN(const v1::ScoreResponse response, client_.Score(request, options_));
    score.skip = response.applied_skip().spec();
    for (const v1::ScoreResult& result : response.results()) {
      score.scored_tokens += result.tokens_size();
      score.logprob_sum += result.logprob_sum();
      score.kv_pages_used += result.kv_pages_used();
      score.kv_pages_windowed += result.kv_pages_windowed();
      score.kv_pages_omitted += result.kv_pages_omitted();
      for (const v1::Token& token : result.tokens()) {
        if (on_token) on_token(token);
      }
    }
    if (on_progress_) on_progress_(next, windows.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<TextScore> TextScorer::Score(const std::string& text, const v1::Skip& skip,
                                            uint32_t window, const OnToken& on_token) const {
  SKIPSTONE_ASSIGN_OR_RETURN(const v1::GetModelResponse model, client_.GetModel(options_));
  SKIPSTONE_ASSIGN_OR_RETURN(std::vector<uint32_t> ids,
                             TextTokenizer(client_, options_).Tokenize(text));
  return ScoreIds(model, std::move(ids), skip, window, on_token);
}

absl::StatusOr<TextScore> TextScorer::ScoreIds(std::vector<uint32_t> ids, const v1::Skip& skip,
                                               uint32_t window, const OnToken& on_token) const {
  SKIPSTONE_ASSIGN_OR_RETURN(const v1::GetModelResponse model, client_.GetModel(options_));
  if (model.has_bos_token_id() && !ids.empty() && ids.front() == model.bos_token_id()) {
    ids.erase(ids.begin());
  }
  return ScoreIds(model, std::move(ids), skip, window, on_token);
}

absl::StatusOr<TextScore> TextScorer::ScoreIds(const v1::GetModelResponse& model,
                                               std::vector<uint32_t> ids, const v1::Skip& skip,
                                               uint32_t window, const OnToken& on_token) const {
  TextScore score;
  score.window_tokens = std::min(window, model.max_context_tokens());
  if (score.window_tokens < 2) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the window must have at least 2 tokens, not %d", score.window_tokens));
  }
  std::optional<uint32_t> bos;
  if (model.has_bos_token_id()) bos = model.bos_token_id();
  const Windows windows = CutIntoWindows(ids, bos, score.window_tokens);
  if (windows.empty()) return absl::InvalidArgumentError("the text has no tokens to score");
  score.windows = windows.size();
  SKIPSTONE_RETURN_IF_ERROR(ScoreWindows(windows, skip, on_token, score));
  return score;
}

}  // namespace skipstone::client
