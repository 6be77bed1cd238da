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

void Sequence::Weigh(const ModelWork& work) {
  const Liveness& live = pages.liveness();
  row_work = {1};  // a decode row has one unit of the budget
  for (int kind = 1; kind < live.num_kinds(); ++kind) {
    row_work.push_back(RowWork(work, skip, live.LastLayer(kind)));
  }
}

double Sequence::WorkOf(int rows) const {
  double work = 0;
  pages.liveness().ForEachSpan(
      planned, planned + rows, FirstLogitsRow(),
      [&](const Liveness::Span& span) { work += (span.end - span.begin) * row_work[span.kind]; });
  return work;
}

int Sequence::RowsWithin(double work) const {
  work = std::max(0.0, work);  // rounding may leave less of a budget, and rows may cost nothing
  int rows = 0;
  bool spent = false;
  const auto take = [&](const Liveness::Span& span) {
    if (spent) return;
    const double each = row_work[span.kind];
    const int count = span.end - span.begin;
    spent = count * each > work;
    const int taken = spent ? static_cast<int>(work / each) : count;
    rows += taken;
    work -= taken * each;
  };
  pages.liveness().ForEachSpan(planned, planned + RowsLeft(), FirstLogitsRow(), take);
  return rows;
}

bool Sequence::CanShed() const {
  // What was applied is reported of generated tokens only, so the log-probabilities of a prompt are
  // all of the set it started with.
  if (!spec.ceiling || next_prompt_logprob < PromptTokens() - 1) return false;
  const int top = skip.LastKeptAttention();
  return top >= 0 &&
         (!spec.ceiling->KeepsAttention(top) || spec.ceiling->Window(top) != skip.Window(top));
}

int Sequence::PagesToShed() const {
  if (!CanShed()) return 0;
  const int window = spec.ceiling->Window(skip.LastKeptAttention());
  if (window == 0) return pages.UnsharedPagesOnTop(0, pages.num_blocks());
  return pages.UnsharedPagesOnTop(pages.SinkBlocks(), pages.BlockOf(planned - window + 1));
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
  chunk.silent_after = std::max(0, FirstLogitsRow() - end);
  next_prompt_logprob = std::max(next_prompt_logprob, last_target_row);
  planned = end;
  in_flight += chunk.samples ? 1 : 0;
  decoding |= chunk.samples;
  plan->num_rows += rows;
  plan->chunks.push_back(chunk);
}

void Sequence::Shed() {
  SKIPSTONE_CHECK(CanShed());
  const int top = skip.LastKeptAttention();
  if (spec.ceiling->KeepsAttention(top)) {
    skip.WindowAttention(top, spec.ceiling->Window(top));
  } else {
    skip.SkipAttention(top);
  }
  skip.TakeMapsAbove(skip.LastKeptAttention(), *spec.ceiling);
  pages.ShedTo(skip);
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
