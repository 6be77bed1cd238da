#include "engine/schedule/sequence.h"

#include <iterator>
#include <utility>

#include "base/check.h"

namespace skipstone {

Sequence::Sequence(SequenceSpec spec, PagePool& pool, int page_tokens)
    : spec(std::move(spec)), pages(pool, this->spec.skip, page_tokens), skip(this->spec.skip) {
  if (this->spec.scores()) {
    next_prompt_logprob = this->spec.score_from - 1;
  } else {
    next_prompt_logprob = this->spec.prompt_logprobs >= 0 ? 0 : PromptTokens();
  }
}

void Sequence::MoveTo(SequenceState next) {
  using enum SequenceState;
  const bool to_run_or_end = next == kRunning || next == kEnded;
  const bool legal[] = {next == kFollowing || next == kWaiting,  // from kNew
                        next == kWaiting || next == kEnded,      // from kFollowing
                        to_run_or_end,                           // from kWaiting
                        next == kPreempted || next == kEnded,    // from kRunning
                        to_run_or_end,                           // from kPreempted
                        false};                                  // from kEnded
  SKIPSTONE_CHECK(legal[static_cast<int>(state_)]);
  state_ = next;
}

int Sequence::RowsWithin(double work) const {
  work = std::max(0.0, work);
  const int left = RowsLeft();
  const int silent = std::clamp(FirstLogitsRow() - planned, 0, left);
  if (silent * silent_row_work > work) return static_cast<int>(work / silent_row_work);
  return silent + std::min(left - silent, static_cast<int>(work - silent * silent_row_work));
}

int Sequence::SheddableLayers() const {
  int layers = 0;
  // What was applied is reported of generated tokens only, so the log-probabilities of a prompt are
  // all of the set it started with.
  if (!spec.ceiling || next_prompt_logprob < PromptTokens() - 1) return layers;
  const std::vector<int16_t>& kept = pages.layers();
  while (layers < std::ssize(kept) && !spec.ceiling->KeepsAttention(*(kept.rbegin() + layers))) {
    ++layers;
  }
  return layers;
}

void Sequence::PlanRows(int rows, StepPlan* plan) {
  const int begin = planned;
  const int end = begin + rows;
  set = plan->SetOf(skip, set);
  SequenceChunk chunk{.sequence = spec.id,
                      .slot = slot,
                      .set = set,
                      .first_position = begin,
                      .num_rows = rows,
                      .first_token = static_cast<int32_t>(plan->tokens.size())};
  AppendTokens(begin, end, &plan->tokens);
  chunk.samples = !spec.scores() && end == length();
  chunk.sample_top_n = spec.logprobs;
  chunk.prompt_top_n = std::max(0, spec.prompt_logprobs);
  // Rows of [first_wanted, end) that precede a prompt token deliver its log-probability.
  const int last_target_row = std::min(end, PromptTokens() - 1);
  const int first_wanted = std::max(begin, next_prompt_logprob);
  chunk.logits_rows = std::max(0, last_target_row - first_wanted) + (chunk.samples ? 1 : 0);
  chunk.last_row_has_target = !chunk.samples && chunk.logits_rows > 0;
  if (chunk.last_row_has_target) plan->tokens.push_back(TokenAt(end));
  next_prompt_logprob = std::max(next_prompt_logprob, last_target_row);
  planned = end;
  in_flight += chunk.samples ? 1 : 0;
  decoding |= chunk.samples;
  plan->num_rows += rows;
  plan->chunks.push_back(chunk);
}

void Sequence::Shed(int layers) {
  for (int i = 0; i < layers; ++i) skip.SkipAttention(*(pages.layers().rbegin() + i));
  pages.ShedTop(layers);
  cursor.ShedTop(static_cast<int>(pages.layers().size()));
  const int from_token = static_cast<int>(output.size()) + in_flight;
  if (!unreported.empty() && unreported.back().from_token == from_token) unreported.pop_back();
  unreported.push_back({from_token, skip});
}

SequenceEnd Sequence::AddToken(int32_t token) {
  output.push_back(token);
  last_token = token;
  --in_flight;
  if (std::ranges::find(spec.stop_ids, token) != spec.stop_ids.end()) {
    return SequenceEnd::kStopToken;
  }
  return static_cast<int>(output.size()) >= spec.max_tokens ? SequenceEnd::kLength
                                                            : SequenceEnd::kNone;
}

std::vector<AppliedRange> Sequence::TakeApplied() {
  const auto first_later = std::ranges::find_if(unreported, [this](const AppliedRange& range) {
    return range.from_token > static_cast<int>(output.size());
  });
  std::vector<AppliedRange> taken(std::make_move_iterator(unreported.begin()),
                                  std::make_move_iterator(first_later));
  unreported.erase(unreported.begin(), first_later);
  return taken;
}

}  // namespace skipstone
