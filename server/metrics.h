// The Prometheus metrics of a server, named by the contract. Fed by the engine's observer port, and
// by the RPC layer for requests that the engine never saw.
#pragma once

#include <prometheus/registry.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/mutex.h"
#include "engine/engine_observer.h"

namespace skipstone::server {

using Buckets = std::map<std::string, std::vector<double>>;

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

  // A request that was refused, or whose client went, before it reached the engine.
  void OnRejected(const RequestLabels& labels, Duration e2e, Outcome outcome = Outcome::kRejected);

  void OnStep(const StepObservation& step) override;
  void OnLoad(const EngineLoad& load) override;
  void OnFirstToken(const RequestLabels& labels, Duration ttft) override;
  void OnInterTokenLatency(const RequestLabels& labels, Duration itl) override;
  void OnOutputFinished(const RequestLabels& labels, const OutputFinished& finished) override;
  void OnRequestDone(const RequestObservation& request) override;

  std::shared_ptr<prometheus::Registry> registry() const { return registry_; }

 private:
  struct Families;  // all metric families
  struct Series;    // the series of one pair of labels
  Series& SeriesOf(const RequestLabels& labels) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string model_name_;
  const std::shared_ptr<prometheus::Registry> registry_;  // the exposer holds a weak reference
  const std::unique_ptr<Families> families_;
  Mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<Series>> series_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace skipstone::server
