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

QueueMeter::Amount AmountOf(const Sequence& sequence) {
  return {.sequences = 1, .prompt_tokens = sequence.PromptTokens()};
}

LiveRequestPtr OwnerOf(std::shared_ptr<SequenceGroup> group) {
  return std::static_pointer_cast<LiveRequest>(std::move(group));
}

// The other requests of the step, whose sets leave the broken weights out, go on.
absl::Status NonFiniteLogits(const EngineRequest& request, const SequenceUpdate& update) {
  return absl::InternalError(absl::StrFormat(
      "the model's logits at position %d (of a prompt of %d tokens) are non-finite, NaN or "
      "infinite, at level '%s' (skipping '%s'): a weight that it runs is broken",
      update.position, request.prompt.size(), request.labels.level, update.skip.ToString()));
}

}  // namespace

StepLoop::StepLoop(std::unique_ptr<ModelRunner> runner, const EngineOptions& options,
                   EngineObserver& observer, const Clock& clock, OutputThreads& output)
    : runner_(std::move(runner)),
      backend_usage_(runner_->Usage()),
      options_(options),
      planner_(options.scheduler, runner_->max_in_flight()),
      attribution_(options.scheduler.work, options.scheduler.page_tokens),
      observer_(observer),
      clock_(clock),
      output_(output) {
  Report();
}

void StepLoop::Post(StepCommand command) {
  if (const auto* add = std::get_if<AddRequest>(&command)) {
    queue_.Enter(AmountOf(add->request->request()), add->request->request().tenant);
  }
  commands_.Push(std::move(command));
}

void StepLoop::Run() {
  while (Step()) {
  }
}

bool StepLoop::Step() {
  if (!TakeCommands()) return false;
  Expire(clock_.Now());
  while (Planner::Step* step = Plan()) {
    if (!Launch(*step)) return false;
  }
  Report();
  if (planner_.idle()) return true;
  StepResults results;
  if (!Collect(&results)) return false;
  results.status.ok() ? Commit(results) : Fail(results.status);
  Report();
  return true;
}

bool StepLoop::TakeCommands() {
  std::vector<StepCommand> commands;
  const bool open = commands_.Take(commands, /*wait=*/planner_.idle() && NothingToPlan());
  for (StepCommand& command : commands) {
    std::visit([this](auto& c) { Apply(c); }, command);
  }
  if (!open) planner_.DropShadows();
  ReportShadows();
  return open || !planner_.idle() || !NothingToPlan();
}

void StepLoop::Apply(AddRequest& command) {
  const EngineRequest& request = command.request->request();
  if (const absl::Status broken = error(); !broken.ok()) {
    queue_.GiveUp(AmountOf(request), request.tenant);
    outgoing_.push_back({std::move(command.request), RequestEnded{broken, Outcome::kError}});
    return;
  }
  for (SequenceSpec& spec : command.sequences) {
    spec.id = next_sequence_++;
    spec.group = command.request;
  }
  planner_.Add(command.sequences);
}

void StepLoop::Apply(AddShadow& command) {
  if (!takes_shadows_ || !error().ok()) return command.done(std::nullopt);
  ShadowSpec spec{.id = next_sequence_,
                  .tokens = std::move(command.shadow.tokens),
                  .score_from = command.shadow.prompt_tokens,
                  .skip = command.shadow.skip,
                  .cache_salt = std::move(command.shadow.cache_salt)};
  next_sequence_ += 2;
  shadows_.emplace(spec.id, std::move(command.done));
  planner_.AddShadow(std::move(spec));
}

void StepLoop::ReportShadows() {
  for (const ShadowQueue::Ended& ended : planner_.TakeShadows()) {
    const auto done = shadows_.extract(ended.id);
    std::optional<ShadowResult> result;
    if (ended.rows) result = ResultOf(*ended.rows);
    done.mapped()(result);
  }
}

void StepLoop::Apply(const EndOutput& command) {
  for (const Sequence* sequence : command.request->sequences) {
    if (sequence->spec.output_index != command.index) continue;
    RemoveSequence(*sequence);
    return;
  }
}

void StepLoop::Apply(const EndRequest& command) {
  while (!command.request->sequences.empty()) {
    const Sequence& sequence = *command.request->sequences.front();
    const int index = sequence.spec.output_index;
    const int preemptions = RemoveSequence(sequence);
    if (!command.finish_outputs) continue;
    outgoing_.push_back({command.request, OutputEnded{index, FinishReason::kAborted, preemptions}});
  }
  if (command.finish_outputs) return;  // the last output's end ends the request
  outgoing_.push_back({command.request, RequestEnded{command.status, command.outcome}});
}

// Takes the sequence out of the scheduler; returns how often it was preempted.
int StepLoop::RemoveSequence(const Sequence& sequence) {
  const int preemptions = sequence.preemptions;
  if (sequence.never_ran()) queue_.GiveUp(AmountOf(sequence), sequence.spec.tenant);
  planner_.Remove(sequence.spec.id);
  return preemptions;
}

void StepLoop::Expire(Time now) {
  for (const SequenceId id : scheduler().PastDeadline(now)) {
    const Sequence* sequence = scheduler().Find(id);
    if (sequence == nullptr) continue;  // ended with another output of its request
    Apply(EndRequest{OwnerOf(sequence->spec.group), DeadlinePassed(), Outcome::kDeadline});
  }
  DropUnreachable(now);
  for (const SequenceId id : scheduler().PastTimeLimit(now)) {
    const Sequence& sequence = *scheduler().Find(id);
    LiveRequestPtr request = OwnerOf(sequence.spec.group);
    const int index = sequence.spec.output_index;
    const int preemptions = RemoveSequence(sequence);
    outgoing_.push_back(
        {std::move(request), OutputEnded{index, FinishReason::kTimeLimit, preemptions}});
  }
}

// Requests of which nothing has started and nothing will in time.
void StepLoop::DropUnreachable(Time now) {
  constexpr auto kInterval = std::chrono::milliseconds(50);  // it may look up many prompts
  if (now < next_reach_check_) return;
  next_reach_check_ = now + kInterval;
  for (const SequenceId id : planner_.Unreachable(now)) {
    const Sequence* sequence = scheduler().Find(id);
    if (sequence == nullptr) continue;  // ended with another output of its request
    const LiveRequestPtr request = OwnerOf(sequence->spec.group);
    if (std::ssize(request->sequences) < request->request().n) continue;
    if (!std::ranges::all_of(request->sequences, &Sequence::never_ran)) continue;
    Apply(EndRequest{request,
                     absl::DeadlineExceededError(
                         "the request waits, and its deadline would pass before a first token"),
                     Outcome::kDeadline});
  }
}

bool StepLoop::Launch(Planner::Step& step) {
  step.launched = clock_.Now();
  ReportStarts(step.plan, step.launched);
  step_started_.store(step.launched, std::memory_order_relaxed);
  EnterDevice();
  runner_->Launch(step.plan);
  if (!LeaveDevice()) return false;
  const std::span<const double> shares = attribution_.Shares(step.plan);
  step.shares.assign(shares.begin(), shares.end());
  return true;
}

// Clients learn that they were accepted before the step runs, not after.
void StepLoop::ReportStarts(const StepPlan& plan, Time now) {
  for (const SequenceId id : plan.started) {
    const Sequence& sequence = *scheduler().Find(id);
    queue_.Start(AmountOf(sequence), now, sequence.spec.tenant);
    outgoing_.push_back(
        {OwnerOf(sequence.spec.group), Scheduled{now, sequence.cached_tokens, sequence.skip}});
  }
  output_.Push(outgoing_);
}

bool StepLoop::Collect(StepResults* results) {
  EnterDevice();
  *results = runner_->Collect();
  return LeaveDevice();
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

void StepLoop::Commit(const StepResults& results) {
  const Time now = clock_.Now();
  const Planner::Step& step = planner_.oldest();
  const Duration time = planner_.TimeOfOldest(now);
  AttributeTime(step, time);
  step.plan.decode_rows > 0 ? decode_time_.Observe(time) : decode_time_.Reset();
  observer_.OnStep({.duration = now - step.launched,
                    .rows = step.plan.num_rows,
                    .sequences = static_cast<int>(step.plan.chunks.size()),
                    .rows_eliminated = results.rows_eliminated,
                    .preemptions = step.plan.preemptions,
                    .shed_layers = step.plan.shed_layers,
                    .shed_pages = step.plan.shed_pages,
                    .prefix_query_tokens = step.plan.prefix_query_tokens,
                    .prefix_hit_tokens = step.plan.prefix_hit_tokens});
  for (SequenceUpdate& update : planner_.Commit(now, results.logits)) {
    LiveRequestPtr request = OwnerOf(std::move(update.group));
    if (update.end == SequenceEnd::kNonFinite) {
      Apply(EndRequest{request, NonFiniteLogits(request->request(), update), Outcome::kError});
    } else {
      outgoing_.push_back({std::move(request), Updated{now, std::move(update)}});
    }
  }
  ReportShadows();
  step_started_.store(planner_.idle() ? kNever : now, std::memory_order_relaxed);
}

void StepLoop::AttributeTime(const Planner::Step& step, Duration duration) {
  Duration of_shadows{};
  for (size_t i = 0; i < step.shares.size(); ++i) {
    const auto share = std::chrono::duration_cast<Duration>(duration * step.shares[i]);
    if (step.plan.chunks[i].shadow) {
      of_shadows += share;
      continue;
    }
    const Sequence* sequence = scheduler().Of(step.plan.chunks[i]);
    if (sequence == nullptr) continue;  // ended meanwhile
    static_cast<LiveRequest&>(*sequence->spec.group).AddAttributed(share);
  }
  if (step.plan.shadow_rows > 0) observer_.OnShadowTime(of_shadows);
  const double seconds = Seconds(duration);
  scheduler().ForEachRunning([&](const Sequence& sequence) {
    static_cast<LiveRequest&>(*sequence.spec.group)
        .AddPageSeconds(static_cast<double>(sequence.pages.num_pages()) * seconds);
  });
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
  planner_.Drop();
  planner_.DropShadows();
  ReportShadows();
  step_started_.store(kNever, std::memory_order_relaxed);
  while (const Sequence* sequence = scheduler().Any()) {
    Apply(EndRequest{OwnerOf(sequence->spec.group), internal, Outcome::kError});
  }
}

void StepLoop::Report() {
  EngineLoad load{.running = scheduler().num_running(), .waiting = scheduler().num_waiting()};
  const PagePool& pool = scheduler().pool();
  load.pages = {.total = pool.size(), .used = pool.used(), .cached = pool.cached()};
  load.waiting_tokens = queue_.waiting().prompt_tokens;
  load.backend = backend_usage_;
  load.shed_level = scheduler().ShedLevel();
  if (load.running == 0) decode_time_.Reset();
  load.saturation = Saturation(load, options_, decode_time_.mean());
  observer_.OnLoad(load);
  {
    MutexLock lock(mutex_);
    load_ = load;
  }
  output_.Push(outgoing_);
}

EngineLoad StepLoop::load() const {
  MutexLock lock(mutex_);
  EngineLoad load = load_;
  const QueueMeter::Amount waiting = queue_.waiting();
  load.waiting = std::max(load.waiting, waiting.sequences);
  load.waiting_tokens = waiting.prompt_tokens;
  load.saturation = std::max(load.saturation, Saturation(load, options_, Duration::zero()));
  return load;
}

absl::Status StepLoop::error() const {
  MutexLock lock(mutex_);
  return error_;
}

}  // namespace skipstone
