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
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/engine_observer.h"
#include "engine/model/tokenizer.h"
#include "engine/model_runner.h"
#include "engine/request.h"
#include "engine/schedule/attribution.h"

namespace skipstone {

struct EngineOptions {
  int max_batch_tokens = 512;          // work of a step: SchedulerOptions
  int max_sequences = 256;             // running at once
  int max_queue = 1024;                // sequences waiting
  int64_t max_queue_tokens = 1 << 20;  // prompt tokens waiting
  bool fair_share = false;             // between tenants, by tokens served; else all are one tenant
  // What prefill may add to a step in which others decode; 0: no bound.
  Duration itl_bound{};
  // Brown-out: while the waiting sequences exceed this share of max_queue, or the pages in use this
  // share of the pool, a request that allows it starts at its ceiling. Above 1: never.
  double brownout_queue = 0.5;
  double brownout_pages = 0.95;
  int page_tokens = 16;
  int64_t num_pages = 0;
  bool prefix_cache = true;
  int num_layers = 0;
  int vocab = 0;
  int max_context = 0;
  std::vector<int32_t> eos_ids;
  ModelWork work;  // unit of the step budget and of attributed times
  // A step, or a call of a sink, that takes longer means that the device or the server hangs:
  // health() says so.
  Duration stall_timeout = std::chrono::minutes(5);
  int output_threads = 1;
  // How long the engine's end waits for a thread that may hang, before it goes on without it.
  Duration end_timeout = std::chrono::seconds(5);
};

struct EngineParts {
  std::unique_ptr<ModelRunner> runner;
  std::shared_ptr<const Tokenizer> tokenizer;  // shared with the RPC threads that encode prompts
  EngineObserver* observer = nullptr;          // optional; outlives the engine
  const Clock* clock = nullptr;                // optional; default SystemClock()
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

  static std::unique_ptr<Engine> Start(EngineParts parts, const EngineOptions& options);
  // Cancels what still runs (UNAVAILABLE) and joins the threads. One that the device or a sink
  // holds is left behind after end_timeout: it then touches nothing but what it owns.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Takes the request, or says why not, in which case the sink is dropped uncalled:
  // INVALID_ARGUMENT, RESOURCE_EXHAUSTED (queue full: retry; can never fit: do not, see
  // IsNeverFits), ALREADY_EXISTS, DEADLINE_EXCEEDED, UNAVAILABLE (draining), INTERNAL (device
  // lost).
  absl::Status Submit(EngineRequest request, std::unique_ptr<RequestSink> sink);

  // False if no such request is live. Its pages are free within two steps.
  bool Cancel(const std::string& request_id, CancelReason reason);

  // Refuses new requests, waits until all have ended or `deadline` passed; then the rest ends with
  // UNAVAILABLE, also while the device hangs. Returns whether all ended by themselves.
  bool Drain(Time deadline);

  EngineLoad load() const;
  // For a request that Submit refused because the queue is full: how long until it drains so far
  // that the request may fit, at the rate of the last seconds.
  Duration RetryAfter(const EngineRequest& request) const;
  RequestLimits limits() const;
  // OK; INTERNAL after a device error, or if a drain found a thread that hangs; UNAVAILABLE while a
  // step or a call of a sink has been running for longer than stall_timeout.
  absl::Status health() const;

 private:
  class Impl;
  explicit Engine(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with its threads, which may be left behind
};

// True for the RESOURCE_EXHAUSTED of a request that not even an empty pool could hold.
bool IsNeverFits(const absl::Status& status);

}  // namespace skipstone
