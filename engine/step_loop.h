// The step thread: takes commands, plans, launches, collects and commits steps, and reports what
// happened as output events. It alone touches scheduler, pages and device.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <unordered_map>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/mailbox.h"
#include "base/mutex.h"
#include "engine/engine_observer.h"
#include "engine/model_runner.h"
#include "engine/output_threads.h"
#include "engine/queue_meter.h"
#include "engine/saturation.h"
#include "engine/schedule/attribution.h"
#include "engine/schedule/planner.h"
#include "engine/shadow.h"

namespace skipstone {

struct AddRequest {
  LiveRequestPtr request;
  std::vector<SequenceSpec> sequences;  // one per output; id and group are set by the step thread
};

// A stop string was found in its text.
struct EndOutput {
  LiveRequestPtr request;
  int index = 0;
};

struct EndRequest {
  LiveRequestPtr request;
  absl::Status status;
  std::optional<Outcome> outcome;
  bool finish_outputs = false;  // as aborted outputs, then OK
};

// What was served is to be scored once more.
struct AddShadow {
  ShadowRequest shadow;
  OnShadow done;
};

// From now on none is scored.
struct EndShadows {};

// There may be something to do.
struct Wake {};

using StepCommand = std::variant<Wake, AddRequest, AddShadow, EndShadows, EndOutput, EndRequest>;

// How a request ends whose deadline passed.
absl::Status DeadlinePassed();

class StepLoop {
 public:
  StepLoop(std::unique_ptr<ModelRunner> runner, const EngineOptions& options,
           EngineObserver& observer, const Clock& clock, OutputThreads& output);

  // Steps until Stop was called and its commands are done, or Abandon. On its own thread.
  void Run();

  // Thread-safe.
  void Post(StepCommand command);
  void Stop() { commands_.Close(); }
  // True if the device holds the step thread: when that comes back it ends at once, and touches
  // nothing that is not the loop's.
  bool Abandon() ABSL_LOCKS_EXCLUDED(mutex_);
  EngineLoad load() const ABSL_LOCKS_EXCLUDED(mutex_);
  // What was posted and has not been scheduled yet.
  const QueueMeter& queue() const { return queue_; }
  absl::Status error() const ABSL_LOCKS_EXCLUDED(mutex_);
  // When the step that is running now began; kNever if none is.
  Time step_started() const { return step_started_.load(std::memory_order_relaxed); }

 private:
  // One round. False: it was the last one.
  bool Step();
  // Waits for commands if there is nothing else to do. False: no more will come, and all is done.
  bool TakeCommands();
  void Expire(Time now);
  // Null: nothing more can be launched now.
  Planner::Step* Plan() { return output_.Full() ? nullptr : planner_.Next(); }
  // False, as Collect's: abandoned meanwhile.
  bool Launch(Planner::Step& step);
  bool Collect(StepResults* results);
  void Commit(const StepResults& results);

  void Apply(const Wake&) {}
  void Apply(AddRequest& command);
  void Apply(AddShadow& command);
  void Apply(const EndShadows&) {
    takes_shadows_ = false;
    planner_.DropShadows();
  }
  void Apply(const EndOutput& command);
  void Apply(const EndRequest& command);
  // What sinks have not taken yet bounds what is computed for them.
  bool NothingToPlan() {
    return (scheduler().Any() == nullptr && !scheduler().HasShadows()) || output_.Full();
  }
  // Tells how shadows ended.
  void ReportShadows();
  int RemoveSequence(const Sequence& sequence);
  void DropUnreachable(Time now);
  void Fail(const absl::Status& status);
  // Around each call of the runner. False: abandoned meanwhile.
  void EnterDevice() ABSL_LOCKS_EXCLUDED(mutex_);
  bool LeaveDevice() ABSL_LOCKS_EXCLUDED(mutex_);
  void ReportStarts(const StepPlan& plan, Time now);
  void AttributeTime(const Planner::Step& step, Duration duration);
  // Hands over the events, and the load they leave.
  void Report() ABSL_LOCKS_EXCLUDED(mutex_);
  const Scheduler& scheduler() const { return planner_.scheduler(); }

  std::unique_ptr<ModelRunner> runner_;
  const BackendUsage backend_usage_;
  const EngineOptions options_;
  Planner planner_;
  DecodeStepTime decode_time_;
  Attribution attribution_;
  EngineObserver& observer_;
  const Clock& clock_;
  OutputThreads& output_;
  Mailbox<StepCommand> commands_;
  std::vector<OutputEvent> outgoing_;
  SequenceId next_sequence_ = 1;
  bool takes_shadows_ = true;
  std::unordered_map<SequenceId, OnShadow> shadows_;  // that have not ended
  Time next_reach_check_{};
  QueueMeter queue_;
  std::atomic<Time> step_started_{kNever};
  mutable Mutex mutex_;
  EngineLoad load_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  bool in_device_ ABSL_GUARDED_BY(mutex_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace skipstone
