#include "server/generate_sink.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "server/answer_bound.h"
#include "server/convert.h"
#include "server/describe.h"
#include "server/exposure.h"
#include "server/logging.h"

namespace skipstone::server {
namespace {

std::string PromptText(const v1::GenerateRequest& request, const Admitted& admitted,
                       const Serving& serving) {
  const bool whole_text =
      request.prompt_case() == v1::GenerateRequest::kText && !request.has_truncate_prompt_tokens();
  return whole_text ? request.text() : serving.tokenizer->Decode(admitted.request.prompt);
}

}  // namespace

GenerateSink::GenerateSink(const v1::GenerateRequest& request, const Admitted& admitted,
                           const Serving& serving, EventReceiver& receiver)
    : serving_(serving),
      live_(admitted.live),
      key_(admitted.key),
      traceparent_(admitted.traceparent),
      chosen_(admitted.request.skip),
      choice_(admitted.applied),
      labels_(admitted.request.labels),
      outputs_(admitted.request.n),
      with_tokens_(admitted.request.output.token_texts),
      receiver_(receiver),
      exposure_(admitted.exposure) {
  accepted_.set_request_id(admitted.request.id);
  accepted_.set_seed(admitted.request.sampling.seed);
  if (request.output().echo()) echo_ = PromptText(request, admitted, serving);
  if (IsShadowed(admitted.request.id, admitted.shadow_fraction)) served_.emplace(admitted.request);
  if (exposure_ && serving.config.exposure_text) {
    exposure_->text = {.prompt = PromptText(request, admitted, serving),
                       .outputs = std::vector<std::string>(outputs_)};
  }
}

v1::AppliedSkip GenerateSink::Applied(const SkipSet& skip) const {
  if (skip == chosen_) return choice_;
  return AppliedSkipOf(live_->levels.LevelOf(skip), choice_.experiment(), choice_.arm());
}

void GenerateSink::OnAccepted(const AcceptedInfo& accepted) {
  *accepted_.mutable_applied_skip() = Applied(accepted.skip);
  accepted_.set_browned_out(accepted.skip != chosen_);
  if (exposure_) exposure_->enlarged = accepted_.browned_out();
  if (served_) served_->OnAccepted(accepted);
  accepted_.set_prompt_tokens(accepted.prompt_tokens);
  accepted_.set_cached_prompt_tokens(accepted.cached_prompt_tokens);
  v1::GenerateEvent event;
  *event.mutable_accepted() = accepted_;
  receiver_.OnEvent(std::move(event));
  if (echo_.empty()) return;
  for (int i = 0; i < outputs_; ++i) {
    v1::GenerateEvent echo;
    echo.mutable_delta()->set_index(i);
    echo.mutable_delta()->set_text(echo_);
    receiver_.OnEvent(std::move(echo));
  }
}

void GenerateSink::OnDelta(OutputDelta delta) {
  if (exposure_ && exposure_->text) exposure_->text->outputs[delta.index] += delta.text;
  if (served_) served_->OnDelta(delta);
  v1::GenerateEvent event;
  SetDelta(std::move(delta), with_tokens_, event.mutable_delta());
  const v1::Delta& made = event.delta();
  // A character or a stop string that is not complete yet, and nothing else to tell.
  if (made.text().empty() && made.tokens().empty() && made.prompt_tokens().empty()) return;
  receiver_.OnEvent(std::move(event));
}

void GenerateSink::OnFinished(const OutputFinished& finished) {
  last_ = finished;
  if (exposure_) exposure_->enlarged |= !finished.applied.empty();
  if (served_) served_->OnFinished(finished);
  v1::GenerateEvent event;
  v1::Finished& made = *event.mutable_finished();
  made = FinishedOf(finished);
  for (const AppliedRange& range : finished.applied) {
    v1::AppliedRange& to = *made.add_applied();
    to.set_from_token(range.from_token);
    *to.mutable_applied_skip() = Applied(range.skip);
  }
  receiver_.OnEvent(std::move(event));
}

void GenerateSink::OnDone(const absl::Status& status, const RequestTotals& totals) {
  if (LogsAt(Severity::kInfo)) {
    const RequestTiming& timing = totals.timing;
    LogEvent(Severity::kInfo, "finished",
             {{"request_id", accepted_.request_id()},
              {"code", absl::StatusCodeToString(status.code())},
              {"reason", status.ok() ? NameOf(last_.reason) : std::string(status.message())},
              {"skip_level", labels_.level},
              {"skip", last_.applied.empty() ? accepted_.applied_skip().spec()
                                             : last_.applied.back().skip.ToString()},
              {"arm", labels_.arm},
              {"prompt_tokens", absl::StrFormat("%d", totals.prompt_tokens)},
              {"completion_tokens", absl::StrFormat("%d", totals.completion_tokens)},
              {"queue_ms", absl::StrFormat("%.3f", Milliseconds(timing.queue))},
              {"ttft_ms", absl::StrFormat("%.3f", Milliseconds(timing.ttft))},
              {"e2e_ms", absl::StrFormat("%.3f", Milliseconds(timing.e2e))},
              {"kv_pages_used", absl::StrFormat("%d", totals.kv_pages_used)},
              {"traceparent", traceparent_}});
  }
  Charge(key_.get(), status, totals, serving_.metrics.server());
  WriteExposure(status, totals);
  receiver_.OnEnd(status);
}

// Once it is known how far the level was from the full model, where that is to be known.
void GenerateSink::WriteExposure(const absl::Status& status, const RequestTotals& totals) {
  if (exposure_) {
    EndExposure(totals, *exposure_);
    exposure_->cached_prompt_tokens = accepted_.cached_prompt_tokens();
  }
  if (!served_ || !status.ok()) {
    if (exposure_) TakeExposure(*std::move(exposure_), serving_);
    return;
  }
  const auto done = [&serving = serving_, exposure = std::move(exposure_)](
                        const std::optional<ShadowResult>& shadow) mutable {
    if (!exposure) return;
    if (shadow) exposure->shadow = ShadowOf(*shadow);
    TakeExposure(*std::move(exposure), serving);
  };
  std::move(*served_).Score(*serving_.engine, serving_.metrics, done);
}

}  // namespace skipstone::server
