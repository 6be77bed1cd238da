// The Prometheus metrics of a server, named by the contract (metric_rows.h). Fed by the engine's
// observer port, and by the RPC layer for what the engine never sees.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "engine/engine_observer.h"
#include "engine/shadow.h"
#include "server/request_metrics.h"
#include "server/server_metrics.h"

namespace skipstone::server {

// For what is counted elsewhere, on one thread at a time.
inline void CountUpTo(int64_t total, prometheus::Counter& counter) {
  counter.Increment(total - counter.Value());
}

// Thread-safe.
class Metrics : public EngineObserver {
 public:
  // `buckets` replaces the bounds of the histograms it names; check it with CheckBuckets first.
  Metrics(const std::string& model_name, const Buckets& buckets);
  ~Metrics() override;

  static absl::Status CheckBuckets(const Buckets& buckets);

  // Constant for the life of the process.
  void SetInfo(const std::string& version, const std::string& backend, int page_tokens,
               int64_t pages_per_layer);

  // Requests with these labels may come: their counters are there from now on, at 0, so that a rate
  // has the first of them.
  void Expect(const std::vector<RequestLabels>& labels);

  // For what is counted where it happens. Lives as long as this.
  ServerMetrics& server() { return server_; }

  // A request that was refused, or whose client went, before it reached the engine.
  void OnRejected(const RequestLabels& labels, Duration e2e, Outcome outcome = Outcome::kRejected);

  // Of requests that were scored once more; `reason` as the label has it.
  void OnShadow(const RequestLabels& labels, const ShadowResult& shadow);
  void OnShadowDropped(const RequestLabels& labels, const char* reason);

  void OnStep(const StepObservation& step) override;
  void OnLoad(const EngineLoad& load) override;
  void OnShadowTime(Duration attributed) override;
  void OnOutputQueue(int64_t change) override;
  RequestObserver& Of(const RequestLabels& labels) override;

  // What /metrics answers.
  std::string Text() const;

 private:
  struct Series;  // what observes the requests of one pair of labels
  prometheus::Labels LabelsOf(const RequestLabels& labels) const;
  Series& SeriesOf(const RequestLabels& labels) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string model_name_;
  const Buckets buckets_;
  prometheus::Registry registry_;
  ServerMetrics server_;
  Mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<Series>> series_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace skipstone::server
