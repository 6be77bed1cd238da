// The step thread: takes commands, plans, launches, collects and commits steps, and reports what
// happened as output events. It alone touches scheduler, pages and device.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/mailbox.h"
#include "base/mutex.h"
#include "engine/engine_observer.h"
#include "engine/model_runner.h"
#include "engine/output_event.h"
#include "engine/output_threads.h"
#include "engine/queue_meter.h"
#include "engine/schedule/attribution.h"
#include "engine/schedule/scheduler.h"
#include "engine/schedule/step_times.h"

namespace skipstone {

struct StepCommand {
  enum class Kind { kAdd, kEndOutput, kEndRequest, kWake };
  Kind kind = Kind::kAdd;
  LiveRequestPtr request;
  std::vector<SequenceSpec> sequences;  // kAdd: one per output; ids are set by the step thread
  int index = 0;                        // kEndOutput
  bool finish_outputs = false;          // kEndRequest: as aborted outputs, then OK
  absl::Status status;                  // kEndRequest
  std::optional<Outcome> outcome;       // kEndRequest
};

// How a request ends whose deadline passed.
absl::Status DeadlinePassed();

class StepLoop {
 public:
  StepLoop(std::unique_ptr<ModelRunner> runner, const SchedulerOptions& options,
           EngineObserver& observer, const Clock& clock, OutputThreads& output);

  // Runs until Stop was called and its commands are done, or Abandon. On its own thread.
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
  struct Owner {
    LiveRequestPtr request;
    int index;
  };
  struct InFlight {
    StepPlan plan;
    std::vector<double> shares;  // of the chunks in the step's time
    Time launched;
  };

  void Apply(StepCommand& command);
  void AddRequest(StepCommand& command);
  void EndRequest(StepCommand& command);
  int RemoveSequence(SequenceId id);
  void Expire(Time now);
  void DropUnreachable(Time now);
  void ExpireDeadline(SequenceId id, const absl::Status& status);
  // Around each call of the runner. False: abandoned meanwhile.
  void EnterDevice() ABSL_LOCKS_EXCLUDED(mutex_);
  bool LeaveDevice() ABSL_LOCKS_EXCLUDED(mutex_);
  bool LaunchSteps();
  void ReportStarts(const StepPlan& plan, Time now);
  bool CollectStep();
  void AttributeTime(const InFlight& step, Duration duration);
  void Publish();
  void Fail(const absl::Status& status);
  void FailRequest(const LiveRequestPtr& request, const absl::Status& status);

  std::unique_ptr<ModelRunner> runner_;
  const BackendUsage backend_usage_;
  Scheduler scheduler_;
  Attribution attribution_;
  StepTimes step_times_;
  EngineObserver& observer_;
  const Clock& clock_;
  OutputThreads& output_;
  Mailbox<StepCommand> commands_;
  std::deque<InFlight> in_flight_;
  InFlight spare_;  // whose memory the next step takes
  std::unordered_map<SequenceId, Owner> owners_;
  std::unordered_map<LiveRequest*, std::vector<SequenceId>> sequences_;
  std::vector<OutputEvent> outgoing_;
  SequenceId next_sequence_ = 1;
  Time last_collected_{};
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
