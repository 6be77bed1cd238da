#include "engine/live_request.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "engine/kv/sequence_pages.h"

namespace skipstone {

LiveRequest::LiveRequest(EngineRequest request, std::unique_ptr<RequestSink> sink,
                         const Context& context)
    : request_(std::move(request)),
      sink_(std::move(sink)),
      context_(context),
      observer_(context.observer.Of(request_.labels)),
      skip_(request_.skip) {
  for (int i = 0; i < request_.n; ++i) {
    outputs_.push_back(
        {TextStream(context_.tokenizer, {.stop_strings = request_.stopping.stop_strings,
                                         .include_stop = request_.stopping.include_stop,
                                         .at_start = request_.output.starts_text})});
  }
}

void LiveRequest::On(const Scheduled& scheduled) {
  if (scheduled_ || done_) return;
  scheduled_ = scheduled.time;
  skip_ = scheduled.skip;
  timing_.queue = scheduled.time - request_.arrival;
  cached_tokens_ = scheduled.cached_tokens;
  sink_->OnAccepted({.prompt_tokens = static_cast<int>(request_.prompt.size()),
                     .cached_prompt_tokens = cached_tokens_,
                     .skip = skip_});
}

bool LiveRequest::On(const Updated& updated) {
  const SequenceUpdate& update = updated.update;
  const int index = update.output_index;
  if (done_ || outputs_[index].finished) return false;
  std::vector<AppliedRange>& applied = outputs_[index].applied;
  applied.insert(applied.end(), update.applied.begin(), update.applied.end());
  OutputDelta delta = PromptDelta(update);
  bool matched = false;
  if (update.sampled) matched = AddToken(index, *update.sampled, updated.time, &delta);
  const bool ends = matched || update.end != SequenceEnd::kNone;
  if (ends && !matched) delta.text += outputs_[index].text.Flush();
  Deliver(std::move(delta));
  if (!ends) return false;
  if (matched) {
    EndOutput(index, FinishReason::kStopString, std::nullopt, update.preemptions);
  } else if (update.end == SequenceEnd::kStopToken) {
    EndOutput(index, FinishReason::kStop, update.sampled->sampled.id, update.preemptions);
  } else {
    EndOutput(index, LengthReason(outputs_[index]), std::nullopt, update.preemptions);
  }
  return matched;
}

void LiveRequest::On(const OutputEnded& ended) {
  const int index = ended.index;
  if (done_ || outputs_[index].finished) return;
  any_time_limit_ |= ended.reason == FinishReason::kTimeLimit;
  any_aborted_ |= ended.reason == FinishReason::kAborted;
  // It ends in the queue; clients are told what was taken before they are told its end.
  if (!scheduled_ && finished_outputs_ == 0) {
    sink_->OnAccepted({.prompt_tokens = static_cast<int>(request_.prompt.size()), .skip = skip_});
  }
  Deliver({.index = index, .text = outputs_[index].text.Flush()});
  EndOutput(index, ended.reason, std::nullopt, ended.preemptions);
}

void LiveRequest::On(const RequestEnded& ended) {
  if (done_) return;
  done_ = true;
  ReadClocks();
  const RequestTotals totals = Totals(ended);
  observer_.OnRequestDone({.labels = request_.labels,
                           .outcome = totals.outcome,
                           .timing = timing_,
                           .scheduled = scheduled_.has_value(),
                           .first_token = totals.first_token,
                           .browned_out = !(skip_ == request_.skip),
                           .prompt_tokens = totals.prompt_tokens,
                           .completion_tokens = totals.completion_tokens,
                           .outputs = totals.outputs,
                           .kv_pages_windowed = pages_windowed_,
                           .kv_pages_omitted = pages_omitted_});
  sink_->OnDone(ended.status, totals);
  sink_.reset();
}

RequestTotals LiveRequest::Totals(const RequestEnded& ended) const {
  RequestTotals totals{.timing = timing_,
                       .first_token = first_delivery_.has_value(),
                       .prompt_tokens = static_cast<int>(request_.prompt.size()),
                       .kv_pages_omitted = pages_omitted_,
                       .kv_page_seconds = page_seconds_.load(std::memory_order_relaxed)};
  totals.outcome = ended.outcome.value_or(any_aborted_      ? Outcome::kAborted
                                          : any_time_limit_ ? Outcome::kTimeLimit
                                                            : Outcome::kOk);
  if (!scheduled_) totals.timing.queue = timing_.e2e;
  for (const Output& output : outputs_) {
    totals.completion_tokens += output.tokens;
    totals.outputs += output.tokens > 0;
    totals.kv_pages_used += PagesOf(output);
  }
  return totals;
}

// Tokens whose K and V are held: the last drawn token never ran, and nothing is stored before the
// first step.
int64_t LiveRequest::StoredBy(const Output& output) const {
  if (!scheduled_) return 0;
  const int64_t stored = std::ssize(request_.prompt) + std::max(output.tokens, 1) - 1;
  const int64_t unstored = request_.score_from > 0 ? 1 : 0;  // the last token is only a target
  return std::max<int64_t>(0, stored - unstored);
}

int64_t LiveRequest::PagesOf(const Output& output) const {
  return PagesFor(StoredBy(output), SkipOf(output), context_.page_tokens);
}

void LiveRequest::ReadClocks() {
  timing_.e2e = context_.clock.Now() - request_.arrival;
  timing_.attributed = Duration(attributed_.load(std::memory_order_relaxed));
}

TokenText LiveRequest::TextOf(const TokenLogprob& token, bool with_logprob) const {
  TokenText text{.id = token.id};
  text.text = ReplaceInvalidUtf8(context_.tokenizer.TokenBytes(token.id));
  if (with_logprob) text.logprob = token.logprob;
  return text;
}

GeneratedToken LiveRequest::Generated(const TokenLogprob& token, const LogitsResult& result,
                                      bool with_logprob) const {
  GeneratedToken generated{.token = TextOf(token, with_logprob)};
  generated.top.reserve(result.top.size());
  for (const TokenLogprob& top : result.top) generated.top.push_back(TextOf(top, true));
  return generated;
}

OutputDelta LiveRequest::PromptDelta(const SequenceUpdate& update) {
  const int index = update.output_index;
  OutputDelta delta{.index = index};
  // The first prompt token follows nothing: it has no log-probability. A prompt that has no other
  // comes with the first sampled token.
  const bool wanted = request_.output.prompt_logprobs >= 0 && request_.score_from == 0;
  if (wanted && !std::exchange(outputs_[index].prompt_begun, true)) {
    delta.prompt_tokens.push_back({.token = TextOf({request_.prompt.front(), 0}, false)});
  }
  for (const LogitsResult& result : update.prompt) {
    delta.prompt_tokens.push_back(Generated(result.target, result, true));
  }
  return delta;
}

// Returns true on a stop string.
bool LiveRequest::AddToken(int index, const LogitsResult& sampled, Time time, OutputDelta* delta) {
  Output& output = outputs_[index];
  const int32_t id = sampled.sampled.id;
  if (request_.output.token_texts) {
    delta->tokens.push_back(Generated(sampled.sampled, sampled, request_.output.logprobs >= 0));
  } else {
    delta->tokens.push_back({.token = {.id = id}});
  }
  if (output.tokens == 0) {
    output.first_token = time;
    if (scheduled_ && timing_.prefill == Duration{}) timing_.prefill = time - *scheduled_;
  } else {
    observer_.OnInterTokenLatency(time - output.last_token);
  }
  output.last_token = time;
  ++output.tokens;
  timing_.decode = time - output.first_token;
  const auto& stops = request_.stopping.stop_token_ids;
  const bool stop_token = std::find(stops.begin(), stops.end(), id) != stops.end();
  if (stop_token && !request_.stopping.include_stop) return false;
  delta->text += output.text.Add(id);
  return output.text.matched_stop().has_value();
}

void LiveRequest::Deliver(OutputDelta delta) {
  if (delta.text.empty() && delta.tokens.empty() && delta.prompt_tokens.empty()) return;
  const bool token = !delta.tokens.empty();
  sink_->OnDelta(std::move(delta));
  if (!token || first_delivery_) return;
  first_delivery_ = context_.clock.Now();
  timing_.ttft = *first_delivery_ - request_.arrival;
  observer_.OnFirstToken(timing_.ttft);
}

FinishReason LiveRequest::LengthReason(const Output& output) const {
  if (request_.score_from > 0) return FinishReason::kMaxTokens;
  const auto& max_tokens = request_.stopping.max_tokens;
  return max_tokens && output.tokens >= *max_tokens ? FinishReason::kMaxTokens
                                                    : FinishReason::kContextFull;
}

void LiveRequest::EndOutput(int index, FinishReason reason, std::optional<int32_t> stop_token,
                            int preemptions) {
  Output& output = outputs_[index];
  output.finished = true;
  ++finished_outputs_;
  OutputFinished finished{.index = index, .reason = reason, .stop_token = stop_token};
  if (reason == FinishReason::kStopString) finished.stop_string = output.text.matched_stop();
  finished.prompt_tokens = static_cast<int>(request_.prompt.size());
  finished.completion_tokens = output.tokens;
  finished.cached_prompt_tokens = cached_tokens_;
  const SkipSet& skip = SkipOf(output);
  const int64_t blocks = BlocksFor(StoredBy(output), context_.page_tokens);
  finished.kv_pages_used = PagesOf(output);
  finished.kv_pages_windowed = blocks * skip.KeptAttention() - finished.kv_pages_used;
  finished.kv_pages_omitted = blocks * skip.SkippedAttention();
  pages_windowed_ += finished.kv_pages_windowed;
  pages_omitted_ += finished.kv_pages_omitted;
  if (!output.applied.empty()) {
    finished.applied = output.applied;
    if (output.applied.front().from_token > 0) {
      finished.applied.insert(finished.applied.begin(), {.from_token = 0, .skip = skip_});
    }
  }
  ReadClocks();
  timing_.preemptions += preemptions;
  finished.timing = timing_;
  finished.timing.decode = output.last_token - output.first_token;
  finished.timing.preemptions = preemptions;
  observer_.OnOutputFinished(finished);
  sink_->OnFinished(finished);
}

}  // namespace skipstone
