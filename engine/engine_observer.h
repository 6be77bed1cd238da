// What happened, for metrics: the engine's only outward port. The engine knows no metrics library.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "engine/backend/backend.h"
#include "engine/request.h"

namespace skipstone {

struct PoolUsage {
  int64_t total = 0;
  int64_t used = 0;
  int64_t cached = 0;
  int64_t free() const { return total - used - cached; }
};

struct EngineLoad {
  int running = 0;             // sequences
  int waiting = 0;             // sequences
  int64_t waiting_tokens = 0;  // of their prompts
  PoolUsage pages;
  BackendUsage backend;
  double saturation = 0;  // 0 to 1, see saturation.h
  double shed_level = 0;  // 0 to 1: what load takes away of the full attention that was asked for
};

struct StepObservation {
  Duration duration{};  // launch to results
  int rows = 0;
  int sequences = 0;
  int64_t rows_eliminated = 0;      // (row, sublayer) pairs kept by the request and not computed
  int preemptions = 0;              // caused while planning this step
  int shed_layers = 0;              // attention sublayers shed, over all sequences
  int64_t shed_pages = 0;           // pages that this freed
  int64_t prefix_query_tokens = 0;  // looked up in the prefix cache at the starts of this step
  int64_t prefix_hit_tokens = 0;    // ... and found
};

struct RequestObservation {
  RequestLabels labels;
  Outcome outcome = Outcome::kOk;
  RequestTiming timing;
  bool scheduled = false;    // it got as far as its first step
  bool first_token = false;  // ... and its first token
  bool browned_out = false;  // it started at its ceiling because of the load
  int prompt_tokens = 0;
  int completion_tokens = 0;      // over all outputs
  int outputs = 0;                // that drew a token
  int64_t kv_pages_windowed = 0;  // of kept layers, that their windows did not need
  int64_t kv_pages_omitted = 0;
};

// What requests with equal labels did. Called by the output threads, like EngineObserver.
class RequestObserver {
 public:
  virtual ~RequestObserver() = default;
  virtual void OnFirstToken(Duration /*ttft*/) {}
  virtual void OnInterTokenLatency(Duration) {}
  virtual void OnOutputFinished(const OutputFinished&) {}
  virtual void OnRequestDone(const RequestObservation&) {}
};

// Called by the step thread and the output threads; implementations are thread-safe and do not
// block. What follows of RequestObserver is the observer of requests that have no other.
class EngineObserver : public RequestObserver {
 public:
  // Asked once for each request. Lives as long as the engine's observer.
  virtual RequestObserver& Of(const RequestLabels&) { return *this; }
  virtual void OnStep(const StepObservation&) {}
  virtual void OnLoad(const EngineLoad&) {}
  // A step's part of attributed time that went into shadows.
  virtual void OnShadowTime(Duration) {}
  // So many more, or fewer, results wait for their sinks.
  virtual void OnOutputQueue(int64_t /*change*/) {}
};

}  // namespace skipstone
