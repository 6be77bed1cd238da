#include "engine/step_loop.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/log.h"

namespace skipstone {

absl::Status DeadlinePassed() {
  return absl::DeadlineExceededError("the request's deadline passed");
}

namespace {

QueueMeter::Amount AmountOf(const std::vector<SequenceSpec>& sequences) {
  QueueMeter::Amount amount{.sequences = static_cast<int>(sequences.size())};
  for (const SequenceSpec& spec : sequences) amount.prompt_tokens += std::ssize(spec.prompt);
  return amount;
}

// The other requests of the step, whose sets leave the broken weights out, go on.
absl::Status NonFiniteLogits(const EngineRequest& request, const SequenceUpdate& update) {
  return absl::InternalError(absl::StrFormat(
      "the model's logits at position %d (of a prompt of %d tokens) are non-finite, NaN or "
      "infinite, at level '%s' (skipping '%s'): a weight that it runs is broken",
      update.position, request.prompt.size(), request.labels.level, update.skip.ToString()));
}

QueueMeter::Amount AmountOf(const Sequence& sequence) {
  return {.sequences = 1, .prompt_tokens = sequence.PromptTokens()};
}

}  // namespace

StepLoop::StepLoop(std::unique_ptr<ModelRunner> runner, const SchedulerOptions& options,
                   EngineObserver& observer, const Clock& clock, OutputThreads& output)
    : runner_(std::move(runner)),
      backend_usage_(runner_->Usage()),
      scheduler_(options),
      attribution_(options.work),
      step_times_(options.itl_bound, options.max_batch_tokens),
      observer_(observer),
      clock_(clock),
      output_(output) {
  Publish();
}

void StepLoop::Post(StepCommand command) {
  if (!command.sequences.empty()) {
    queue_.Enter(AmountOf(command.sequences), command.sequences.front().tenant);
  }
  commands_.Push(std::move(command));
}

void StepLoop::Run() {
  std::vector<StepCommand> commands;
  while (true) {
    // What sinks have not taken yet bounds what is computed for them.
    const bool nothing_to_do = owners_.empty() || output_.Full();
    const bool idle = in_flight_.empty() && nothing_to_do;
    const bool open = commands_.Take(commands, idle);
    for (StepCommand& command : commands) Apply(command);
    if (!open && in_flight_.empty() && (owners_.empty() || output_.Full())) break;
    Expire(clock_.Now());
    if (!LaunchSteps()) return;
    Publish();
    output_.Push(outgoing_);
    if (!in_flight_.empty() && !CollectStep()) return;
    Publish();
    output_.Push(outgoing_);
  }
}

void StepLoop::EnterDevice() {
  MutexLock lock(mutex_);
  in_device_ = true;
}

bool StepLoop::LeaveDevice() {
  MutexLock lock(mutex_);
  in_device_ = false;
  return !abandoned_;
}

bool StepLoop::Abandon() {
  MutexLock lock(mutex_);
  abandoned_ = in_device_;
  return abandoned_;
}

void StepLoop::Apply(StepCommand& command) {
  switch (command.kind) {
    case StepCommand::Kind::kWake:
      return;
    case StepCommand::Kind::kAdd:
      return AddRequest(command);
    case StepCommand::Kind::kEndRequest:
      return EndRequest(command);
    case StepCommand::Kind::kEndOutput: {
      const auto it = sequences_.find(command.request.get());
      if (it == sequences_.end()) return;
      for (const SequenceId id : it->second) {
        if (owners_.at(id).index != command.index) continue;
        RemoveSequence(id);
        return;
      }
    }
  }
}

void StepLoop::AddRequest(StepCommand& command) {
  if (const absl::Status broken = error(); !broken.ok()) {
    queue_.GiveUp(AmountOf(command.sequences), command.request->request().tenant);
    outgoing_.push_back({.kind = OutputEvent::Kind::kDone,
                         .request = std::move(command.request),
                         .status = broken,
                         .outcome = Outcome::kError});
    return;
  }
  // All outputs of a request start with the same set.
  const bool brown_out = scheduler_.Overloaded();
  for (SequenceSpec& spec : command.sequences) {
    spec.id = next_sequence_++;
    if (brown_out && spec.ceiling) spec.skip = *spec.ceiling;
    owners_.emplace(spec.id, Owner{command.request, spec.output_index});
    sequences_[command.request.get()].push_back(spec.id);
    scheduler_.Add(std::move(spec));
  }
}

// Takes the sequence out of scheduler and tables; returns how often it was preempted.
int StepLoop::RemoveSequence(SequenceId id) {
  const Sequence* sequence = scheduler_.Find(id);
  const int preemptions = sequence ? sequence->preemptions : 0;
  if (sequence && !sequence->running() && preemptions == 0) {
    queue_.GiveUp(AmountOf(*sequence), sequence->spec.tenant);
  }
  scheduler_.Remove(id);
  const auto owner = owners_.find(id);
  const auto it = sequences_.find(owner->second.request.get());
  std::erase(it->second, id);
  if (it->second.empty()) sequences_.erase(it);
  owners_.erase(owner);
  return preemptions;
}

void StepLoop::EndRequest(StepCommand& command) {
  const auto it = sequences_.find(command.request.get());
  if (it != sequences_.end()) {
    const std::vector<SequenceId> ids = it->second;
    for (const SequenceId id : ids) {
      const int index = owners_.at(id).index;
      const int preemptions = RemoveSequence(id);
      if (!command.finish_outputs) continue;
      outgoing_.push_back({.kind = OutputEvent::Kind::kEndOutput,
                           .request = command.request,
                           .index = index,
                           .reason = FinishReason::kAborted,
                           .preemptions = preemptions});
    }
  }
  if (command.finish_outputs) return;  // the last output's end ends the request
  outgoing_.push_back({.kind = OutputEvent::Kind::kDone,
                       .request = std::move(command.request),
                       .status = command.status,
                       .outcome = command.outcome});
}

void StepLoop::Expire(Time now) {
  for (const SequenceId id : scheduler_.PastDeadline(now)) ExpireDeadline(id, DeadlinePassed());
  DropUnreachable(now);
  for (const SequenceId id : scheduler_.PastTimeLimit(now)) {
    const Owner owner = owners_.at(id);
    outgoing_.push_back({.kind = OutputEvent::Kind::kEndOutput,
                         .request = owner.request,
                         .index = owner.index,
                         .reason = FinishReason::kTimeLimit,
                         .preemptions = RemoveSequence(id)});
  }
}

// Requests of which nothing has started and nothing will in time.
void StepLoop::DropUnreachable(Time now) {
  constexpr auto kInterval = std::chrono::milliseconds(50);  // it may look up many prompts
  if (now < next_reach_check_) return;
  next_reach_check_ = now + kInterval;
  for (const SequenceId id : scheduler_.Unreachable(now, step_times_.BestPrefillRate())) {
    const auto owner = owners_.find(id);
    if (owner == owners_.end()) continue;  // ended with another output of its request
    LiveRequest* const request = owner->second.request.get();
    const std::vector<SequenceId>& ids = sequences_.at(request);
    const bool waits = std::ranges::all_of(ids, [this](SequenceId other) {
      const Sequence& sequence = *scheduler_.Find(other);
      return !sequence.running() && sequence.preemptions == 0;
    });
    if (!waits || std::ssize(ids) < request->request().n) continue;
    ExpireDeadline(id, absl::DeadlineExceededError(
                           "the request waits, and its deadline would pass before a first token"));
  }
}

void StepLoop::ExpireDeadline(SequenceId id, const absl::Status& status) {
  const auto owner = owners_.find(id);
  if (owner == owners_.end()) return;  // ended with another output of its request
  StepCommand end{.kind = StepCommand::Kind::kEndRequest, .request = owner->second.request};
  end.status = status;
  end.outcome = Outcome::kDeadline;
  EndRequest(end);
}

bool StepLoop::LaunchSteps() {
  while (static_cast<int>(in_flight_.size()) < runner_->max_in_flight() && !output_.Full()) {
    scheduler_.LimitPrefill(step_times_.PrefillLimit());
    InFlight step = std::move(spare_);
    step.plan = scheduler_.Next(std::move(step.plan));
    if (step.plan.empty()) {
      spare_ = std::move(step);
      return true;
    }
    step.launched = clock_.Now();
    ReportStarts(step.plan, step.launched);
    step_started_.store(step.launched, std::memory_order_relaxed);
    EnterDevice();
    runner_->Launch(step.plan);
    if (!LeaveDevice()) return false;
    const std::span<const double> shares = attribution_.Shares(step.plan);
    step.shares.assign(shares.begin(), shares.end());
    in_flight_.push_back(std::move(step));
  }
  return true;
}

// Clients learn that they were accepted before the step runs, not after.
void StepLoop::ReportStarts(const StepPlan& plan, Time now) {
  for (const SequenceId id : plan.started) {
    const Sequence& sequence = *scheduler_.Find(id);
    queue_.Start(AmountOf(sequence), now, sequence.spec.tenant);
    outgoing_.push_back({.kind = OutputEvent::Kind::kScheduled,
                         .request = owners_.at(id).request,
                         .time = now,
                         .cached_tokens = sequence.cached_tokens,
                         .skip = sequence.skip});
  }
  output_.Push(outgoing_);
}

bool StepLoop::CollectStep() {
  EnterDevice();
  const StepResults results = runner_->Collect();
  if (!LeaveDevice()) return false;
  spare_ = std::move(in_flight_.front());
  in_flight_.pop_front();
  const InFlight& step = spare_;
  const Time now = clock_.Now();
  step_started_.store(in_flight_.empty() ? kNever : now, std::memory_order_relaxed);
  if (!results.status.ok()) {
    Fail(results.status);
    return true;
  }
  // A step that was launched behind another began when that one ended.
  const Duration step_time = now - std::max(step.launched, last_collected_);
  last_collected_ = now;
  step_times_.Observe(step.plan, step_time);
  AttributeTime(step, step_time);
  observer_.OnStep({.duration = now - step.launched,
                    .rows = step.plan.num_rows,
                    .sequences = static_cast<int>(step.plan.chunks.size()),
                    .rows_eliminated = results.rows_eliminated,
                    .preemptions = step.plan.preemptions,
                    .shed_layers = step.plan.shed_layers,
                    .shed_pages = step.plan.shed_pages,
                    .prefix_query_tokens = step.plan.prefix_query_tokens,
                    .prefix_hit_tokens = step.plan.prefix_hit_tokens});
  for (SequenceUpdate& update : scheduler_.Commit(step.plan, results.logits)) {
    const auto found = owners_.find(update.id);
    if (found == owners_.end()) continue;  // ended with another output of its request
    const Owner owner = found->second;
    if (update.end == SequenceEnd::kNonFinite) {
      FailRequest(owner.request, NonFiniteLogits(owner.request->request(), update));
      continue;
    }
    if (update.end != SequenceEnd::kNone) RemoveSequence(update.id);
    outgoing_.push_back({.kind = OutputEvent::Kind::kUpdate,
                         .request = owner.request,
                         .index = owner.index,
                         .time = now,
                         .update = std::move(update)});
  }
  return true;
}

void StepLoop::AttributeTime(const InFlight& step, Duration duration) {
  for (size_t i = 0; i < step.shares.size(); ++i) {
    const auto owner = owners_.find(step.plan.chunks[i].sequence);
    if (owner == owners_.end()) continue;  // ended meanwhile
    owner->second.request->AddAttributed(
        std::chrono::duration_cast<Duration>(duration * step.shares[i]));
  }
}

// The device is lost: everything that is live ends, and so will everything that comes.
void StepLoop::Fail(const absl::Status& status) {
  const absl::Status internal =
      absl::InternalError(absl::StrFormat("device error: %s", std::string(status.message())));
  Log(LogSeverity::kError, std::string(internal.message()));
  {
    MutexLock lock(mutex_);
    error_ = internal;
  }
  in_flight_.clear();
  step_started_.store(kNever, std::memory_order_relaxed);
  while (!sequences_.empty()) {
    FailRequest(owners_.at(sequences_.begin()->second.front()).request, internal);
  }
}

void StepLoop::FailRequest(const LiveRequestPtr& request, const absl::Status& status) {
  StepCommand end{.kind = StepCommand::Kind::kEndRequest, .request = request};
  end.status = status;
  end.outcome = Outcome::kError;
  EndRequest(end);
}

void StepLoop::Publish() {
  EngineLoad load{.running = scheduler_.num_running(), .waiting = scheduler_.num_waiting()};
  load.pages = {.total = scheduler_.pool().size(),
                .used = scheduler_.pool().used(),
                .cached = scheduler_.pool().cached()};
  load.waiting_tokens = queue_.waiting().prompt_tokens;
  load.backend = backend_usage_;
  observer_.OnLoad(load);
  MutexLock lock(mutex_);
  load_ = load;
}

EngineLoad StepLoop::load() const {
  MutexLock lock(mutex_);
  EngineLoad load = load_;
  const QueueMeter::Amount waiting = queue_.waiting();
  load.waiting = std::max(load.waiting, waiting.sequences);
  load.waiting_tokens = waiting.prompt_tokens;
  return load;
}

absl::Status StepLoop::error() const {
  MutexLock lock(mutex_);
  return error_;
}

}  // namespace skipstone
