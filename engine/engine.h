// The engine: requests in, tokens out. Owns the step thread, which alone runs scheduler, pages and
// device, and the output threads, which turn tokens into text and call the sinks.
//
//   auto engine = Engine::Start(std::move(parts), options);
//   engine->Submit(request, std::make_unique<MySink>());
//   engine->Cancel("request-7", Engine::CancelReason::kClientGone);
//   engine->Drain(deadline);
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/leavable_thread.h"
#include "base/mutex.h"
#include "engine/engine_observer.h"
#include "engine/engine_options.h"
#include "engine/live_calls.h"
#include "engine/model/tokenizer.h"
#include "engine/model_runner.h"
#include "engine/output_threads.h"
#include "engine/queue_meter.h"
#include "engine/queue_room.h"
#include "engine/request.h"
#include "engine/shadow.h"
#include "engine/step_loop.h"

namespace skipstone {

struct EngineParts {
  std::unique_ptr<ModelRunner> runner;
  std::shared_ptr<const Tokenizer> tokenizer;  // shared with the RPC threads that encode prompts
  EngineObserver* observer = nullptr;          // optional; outlives the engine
  const Clock* clock = nullptr;                // optional; default SystemClock()
  OutputBatches* output_batches = nullptr;     // optional; outlives the engine
};

// Thread-safe.
class Engine {
 public:
  enum class CancelReason {
    kClientGone,     // OnDone(CANCELLED)
    kAbort,          // each unfinished output gets Finished(kAborted), then OnDone(OK)
    kStreamStalled,  // OnDone(CANCELLED); outcome aborted
    kDeadline,       // OnDone(DEADLINE_EXCEEDED): the transport noticed it first
  };

  // Its end cancels what still runs (UNAVAILABLE) and joins the threads. One that the device or a
  // sink holds is left behind after end_timeout: it then touches nothing but what it owns.
  struct Ender {
    std::shared_ptr<Engine> engine;  // shared with its threads, which may be left behind
    void operator()(Engine*);
  };
  static std::unique_ptr<Engine, Ender> Start(EngineParts parts, const EngineOptions& options);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Takes the request, or says why not, in which case the sink is dropped uncalled:
  // INVALID_ARGUMENT, RESOURCE_EXHAUSTED (queue or a limit of the tenant full: retry; can never
  // fit: do not, see IsNeverFits), ALREADY_EXISTS (another call), DEADLINE_EXCEEDED, UNAVAILABLE
  // (draining), INTERNAL (device lost).
  absl::Status Submit(EngineRequest request, std::unique_ptr<RequestSink> sink);

  // Scores what was served once more, when nobody else has rows to run; no request waits for it. A
  // drain drops what has not ended, and later ones at once; it waits until all `done` were called.
  void Shadow(ShadowRequest shadow, OnShadow done);

  // Ends what is live of `call` under that id; false if nothing is. Its pages are free within two
  // steps.
  bool Cancel(const std::string& request_id, CancelReason reason, uint64_t call = 0);
  // kAbort of whichever call has that id; with `owner` only if it is the call's, and whether it is
  // another's or nobody's cannot be told.
  bool Abort(const std::string& request_id, const std::optional<std::string>& owner);

  // Refuses new requests, waits until all have ended or `deadline` passed; then the rest ends with
  // UNAVAILABLE, also while the device hangs. Returns whether all ended by themselves.
  bool Drain(Time deadline);

  EngineLoad load() const { return loop_.load(); }
  // For what Submit refused for want of room: how long until the queue drains so far that it may
  // fit behind those that were told the same before, at the rate of the last seconds. At most
  // PromisedPlaces::kLongest.
  Duration RetryAfter(const QueueMeter::Amount& amount, const std::string& tenant);
  // OK; INTERNAL after a device error, or if a drain found a thread that hangs; UNAVAILABLE while a
  // step or a call of a sink has been running for longer than stall_timeout.
  absl::Status health() const;

 private:
  Engine(EngineParts parts, const EngineOptions& options);
  // Before anything else.
  void StartThreads(const std::shared_ptr<Engine>& self);
  // After everything else. The threads let go of what is shared when they end.
  void End();
  std::vector<SequenceSpec> MakeSequences(const EngineRequest& request) const;
  int ResolveMaxTokens(const EngineRequest& request) const;
  absl::Status CanTake(const EngineRequest& request) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool EndRequests(const LiveCalls::Requests& requests, EndRequest end);
  void EndWithoutSteps() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Handle(OutputEvent& event);
  void Retire(const LiveRequestPtr& request, const RequestEnded& end);

  const EngineOptions options_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  EngineObserver no_observer_;
  EngineObserver& observer_;
  const Clock& clock_;
  mutable Mutex mutex_;
  CondVar ended_;
  LiveCalls live_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool hangs_ ABSL_GUARDED_BY(mutex_) = false;
  int shadows_ ABSL_GUARDED_BY(mutex_) = 0;  // that have not ended
  OutputThreads output_;
  StepLoop loop_;
  QueueRoom room_ ABSL_GUARDED_BY(mutex_);
  std::vector<LeavableThread> threads_;  // the step thread, then the output threads
};
using EnginePtr = std::unique_ptr<Engine, Engine::Ender>;

// True for the RESOURCE_EXHAUSTED of a request that not even an empty pool could hold.
bool IsNeverFits(const absl::Status& status);

}  // namespace skipstone
