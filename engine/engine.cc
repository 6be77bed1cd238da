#include "engine/engine.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/status.h"
#include "engine/request_limits.h"

namespace skipstone {

namespace {

// With what the scheduler takes of them.
EngineOptions WithScheduler(EngineOptions options) {
  if (options.brownout_queue <= 1) {
    options.scheduler.brownout_waiting =
        static_cast<int>(options.brownout_queue * options.limits.max_queue);
  }
  return options;
}

// How a request ends that is no longer wanted.
EndRequest EndFor(Engine::CancelReason reason) {
  switch (reason) {
    case Engine::CancelReason::kAbort:
      return {.finish_outputs = true};
    case Engine::CancelReason::kStreamStalled:
      return {.status = absl::CancelledError("the client stopped reading"),
              .outcome = Outcome::kAborted};
    case Engine::CancelReason::kDeadline:
      return {.status = DeadlinePassed(), .outcome = Outcome::kDeadline};
    case Engine::CancelReason::kClientGone:
      break;
  }
  return {.status = absl::CancelledError("cancelled"), .outcome = Outcome::kCancelled};
}

absl::Status CutByDrain() {
  return absl::UnavailableError("the server shut down before the request ended");
}

// So many steps' results may wait for their sinks.
int64_t OutputLimitOf(const EngineOptions& options) {
  constexpr int64_t kSteps = 16;
  return kSteps * std::max(options.scheduler.max_sequences, 2 * options.scheduler.max_batch_tokens);
}

}  // namespace

Engine::Engine(EngineParts parts, const EngineOptions& options)
    : options_(options),
      tokenizer_(std::move(parts.tokenizer)),
      observer_(parts.observer ? *parts.observer : no_observer_),
      clock_(parts.clock ? *parts.clock : SystemClock()),
      output_(options.output_threads, OutputLimitOf(options), observer_, clock_,
              parts.output_batches),
      loop_(std::move(parts.runner), WithScheduler(options), observer_, clock_, output_),
      room_(options.limits, loop_.queue(), live_) {
  output_.set_on_room([this] { loop_.Post(Wake()); });
}

EnginePtr Engine::Start(EngineParts parts, const EngineOptions& options) {
  std::shared_ptr<Engine> engine(new Engine(std::move(parts), options));
  engine->StartThreads(engine);
  return EnginePtr(engine.get(), {engine});
}

void Engine::Ender::operator()(Engine*) { std::exchange(engine, nullptr)->End(); }

void Engine::StartThreads(const std::shared_ptr<Engine>& self) {
  threads_.emplace_back("step", [self] { self->loop_.Run(); });
  for (int i = 0; i < output_.size(); ++i) {
    threads_.emplace_back("output", [self, i] {
      self->output_.Run(i, [&self](OutputEvent& event) { self->Handle(event); });
    });
  }
}

void Engine::End() {
  Drain(SystemClock().Now());
  loop_.Stop();
  const auto deadline = [this] {
    MutexLock lock(mutex_);  // where the drain found that something hangs, the waiting was done
    return SystemClock().Now() + (hangs_ ? Duration::zero() : options_.end_timeout);
  };
  // What is not in the device's hands comes to its end by itself.
  while (!threads_[0].WaitUntil(deadline())) {
    if (!loop_.Abandon()) continue;
    Log(LogSeverity::kError, "the device hangs: the step thread is left behind");
    break;
  }
  output_.Close();
  const Time sinks = deadline();
  for (int i = 1; i < std::ssize(threads_); ++i) {
    if (threads_[i].WaitUntil(sinks)) continue;
    output_.Abandon();
    Log(LogSeverity::kError, "a sink hangs: an output thread is left behind");
  }
  for (LeavableThread& thread : threads_) thread.Leave();
}

absl::Status Engine::Submit(EngineRequest request, std::unique_ptr<RequestSink> sink) {
  SKIPSTONE_RETURN_IF_ERROR(ValidateRequest(request, options_));
  if (request.deadline <= clock_.Now()) {
    return absl::DeadlineExceededError("the request's deadline has passed before it was queued");
  }
  AddRequest add{.sequences = MakeSequences(request)};
  MutexLock lock(mutex_);
  SKIPSTONE_RETURN_IF_ERROR(CanTake(request));
  add.request = std::make_shared<LiveRequest>(
      std::move(request), std::move(sink),
      LiveRequest::Context{*tokenizer_, observer_, clock_, options_.scheduler.page_tokens});
  live_.Enter(add.request);
  loop_.Post(std::move(add));
  return absl::OkStatus();
}

absl::Status Engine::CanTake(const EngineRequest& request) const {
  SKIPSTONE_RETURN_IF_ERROR(loop_.error());
  if (draining_) return absl::UnavailableError("the server is draining");
  if (live_.IsTaken(request)) {
    return absl::AlreadyExistsError(
        absl::StrFormat("request_id '%s' belongs to a live request", request.id));
  }
  return room_.Check(request);
}

int Engine::ResolveMaxTokens(const EngineRequest& request) const {
  const int prompt = static_cast<int>(request.prompt.size());
  int64_t most = options_.limits.max_context - prompt;
  if (request.stopping.max_tokens) return std::min<int64_t>(most, *request.stopping.max_tokens);
  // The last token drawn is never stored.
  const SchedulerOptions& pool = options_.scheduler;
  const int64_t stored =
      MostTokensFor(pool.num_pages, request.skip, pool.page_tokens, options_.limits.max_context);
  most = std::min(most, stored - prompt + 1);
  return static_cast<int>(most);
}

std::vector<SequenceSpec> Engine::MakeSequences(const EngineRequest& request) const {
  SequenceSpec spec{.prompt = request.prompt,
                    .skip = request.skip,
                    .ceiling = request.ceiling,
                    .sampling = request.sampling,
                    .max_tokens = ResolveMaxTokens(request),
                    .score_from = request.score_from,
                    .logprobs = request.output.logprobs,
                    .prompt_logprobs = request.output.prompt_logprobs,
                    .stop_ids = request.stopping.stop_token_ids,
                    .cache_salt = request.cache_salt,
                    .tenant = request.tenant,
                    .priority = request.priority,
                    .arrival = request.arrival,
                    .deadline = request.deadline};
  if (!request.stopping.ignore_eos) {
    spec.stop_ids.insert(spec.stop_ids.end(), options_.eos_ids.begin(), options_.eos_ids.end());
  }
  if (request.stopping.time_limit) spec.time_limit = request.arrival + *request.stopping.time_limit;
  spec.sampling.min_tokens = request.stopping.min_tokens;
  if (spec.sampling.min_tokens > 0) spec.sampling.suppressed_ids = spec.stop_ids;
  std::vector<SequenceSpec> specs(request.n, spec);
  for (int i = 0; i < request.n; ++i) specs[i].output_index = i;
  return specs;
}

void Engine::Shadow(ShadowRequest shadow, OnShadow done) {
  {
    MutexLock lock(mutex_);
    ++shadows_;
  }
  loop_.Post(AddShadow{std::move(shadow), [this, done = std::move(done)](const auto& result) {
                         done(result);
                         {
                           MutexLock lock(mutex_);
                           --shadows_;
                         }
                         ended_.NotifyAll();
                       }});
}

bool Engine::Cancel(const std::string& request_id, CancelReason reason, uint64_t call) {
  LiveCalls::Requests requests;
  {
    MutexLock lock(mutex_);
    requests = live_.Of(request_id, call);
    live_.Close(request_id, call);
  }
  ended_.NotifyAll();
  return EndRequests(requests, EndFor(reason));
}

bool Engine::Abort(const std::string& request_id, const std::optional<std::string>& owner) {
  LiveCalls::Requests requests;
  {
    MutexLock lock(mutex_);
    requests = live_.OwnedBy(owner, request_id);
  }
  return EndRequests(requests, EndFor(CancelReason::kAbort));
}

bool Engine::EndRequests(const LiveCalls::Requests& requests, EndRequest end) {
  for (const LiveRequestPtr& request : requests) {
    end.request = request;
    loop_.Post(end);
  }
  return !requests.empty();
}

bool Engine::Drain(Time deadline) {
  MutexLock lock(mutex_);
  draining_ = true;
  loop_.Post(EndShadows());
  while ((!live_.empty() || shadows_ > 0) && ended_.WaitUntil(mutex_, deadline)) {
  }
  if (live_.empty()) return true;
  EndRequests(live_.All(), {.status = CutByDrain(), .outcome = Outcome::kError});
  Time told = SystemClock().Now() + options_.end_timeout;
  while (!live_.empty() && ended_.WaitUntil(mutex_, told)) {
  }
  if (live_.empty()) return false;
  EndWithoutSteps();
  told = SystemClock().Now() + options_.end_timeout;
  while (!live_.empty() && ended_.WaitUntil(mutex_, told)) {
  }
  return false;
}

// The step thread does not answer; the output threads may still reach the clients.
void Engine::EndWithoutSteps() {
  hangs_ = true;
  const LiveCalls::Requests requests = live_.All();
  Log(LogSeverity::kError, absl::StrFormat("no answer of the step thread for %.0f s: %d requests "
                                           "end without it",
                                           Seconds(options_.end_timeout), requests.size()));
  std::vector<OutputEvent> ends;
  for (const LiveRequestPtr& request : requests) {
    ends.push_back({request, RequestEnded{CutByDrain(), Outcome::kError}});
  }
  output_.Push(ends);
}

absl::Status Engine::health() const {
  SKIPSTONE_RETURN_IF_ERROR(loop_.error());
  {
    MutexLock lock(mutex_);
    if (hangs_) return absl::InternalError("the step thread or an output thread hangs");
  }
  const std::pair<const char*, Time> calls[] = {
      {"a step has been running", loop_.step_started()},
      {"a call of a sink has been running", output_.handling_since()}};
  for (const auto& [what, started] : calls) {
    if (started == kNever || clock_.Now() - started <= options_.stall_timeout) continue;
    return absl::UnavailableError(
        absl::StrFormat("%s for %.0f s", what, Seconds(clock_.Now() - started)));
  }
  return absl::OkStatus();
}

Duration Engine::RetryAfter(const QueueMeter::Amount& amount, const std::string& tenant) {
  MutexLock lock(mutex_);
  return room_.RetryAfter(amount, tenant, clock_.Now());
}

void Engine::Handle(OutputEvent& event) {
  LiveRequest& request = *event.request;
  if (const auto* end = std::get_if<RequestEnded>(&event.what)) return Retire(event.request, *end);
  if (const auto* scheduled = std::get_if<Scheduled>(&event.what)) request.On(*scheduled);
  if (const auto* ended = std::get_if<OutputEnded>(&event.what)) request.On(*ended);
  if (const auto* updated = std::get_if<Updated>(&event.what)) {
    if (request.On(*updated) && updated->update.end == SequenceEnd::kNone) {
      loop_.Post(EndOutput{event.request, updated->update.output_index});
    }
  }
  if (request.AllFinished()) Retire(event.request, {});
}

void Engine::Retire(const LiveRequestPtr& request, const RequestEnded& end) {
  if (request->done()) return;
  {
    // Before the client learns of the end, so that it may use the id again at once.
    MutexLock lock(mutex_);
    live_.Leave(request);
  }
  request->On(end);
  ended_.NotifyAll();
}

}  // namespace skipstone
