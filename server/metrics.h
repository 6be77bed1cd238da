// The Prometheus metrics of a server, named by the contract. Fed by the engine's observer port, and
// by the RPC layer for requests that the engine never saw.
#pragma once

#include <prometheus/labels.h>
#include <prometheus/registry.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "engine/engine_observer.h"

namespace skipstone::server {

using Buckets = std::map<std::string, std::vector<double>>;

// Descriptors of the process, connections to its gRPC port.
struct ConnectionObservation {
  int64_t open_fds = 0;
  int64_t max_fds = 0;
  int64_t open = 0;
  int64_t refused = 0;  // since the start, for want of room
};

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

  void SetConnections(const ConnectionObservation& connections);

  // Requests with these labels may come: their counters are there from now on, at 0, so that a rate
  // has the first of them.
  void Expect(const std::vector<RequestLabels>& labels);

  // A request that was refused, or whose client went, before it reached the engine.
  void OnRejected(const RequestLabels& labels, Duration e2e, Outcome outcome = Outcome::kRejected);

  void OnStep(const StepObservation& step) override;
  void OnLoad(const EngineLoad& load) override;
  void OnOutputQueue(int64_t change) override;
  RequestObserver& Of(const RequestLabels& labels) override;

  std::shared_ptr<prometheus::Registry> registry() const { return registry_; }

 private:
  struct Families;  // all metric families
  struct Counters;  // of one pair of labels
  struct Series;    // the counters and histograms of one pair of labels
  prometheus::Labels LabelsOf(const RequestLabels& labels) const;
  Series& SeriesOf(const RequestLabels& labels) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string model_name_;
  const std::shared_ptr<prometheus::Registry> registry_;  // the exposer holds a weak reference
  const std::unique_ptr<Families> families_;
  Mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<Series>> series_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace skipstone::server
