// What a reload replaces while the server runs: levels, policy, experiments, keys. Everything else
// of a configuration holds until the process ends.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "engine/levels/levels_file.h"
#include "server/api_keys.h"
#include "server/experiments.h"
#include "server/guardrails.h"
#include "server/levels.h"
#include "server/server_metrics.h"
#include "server/server_config.h"

namespace skipstone::server {

// Immutable but for switches of experiments and quotas of keys, and thread-safe.
struct LiveConfig {
  // What a model says of any of them.
  struct Model {
    int num_layers = 0;
    int max_context = 0;  // tokens
    uint64_t fingerprint = 0;
    const LevelsFile* levels_file = nullptr;  // null: there is none
  };
  // The errors of Levels, Experiments, Guardrails and ApiKeys. `previous`, null at the start:
  // experiments that are the same go on with what its guardrails have seen, keys with what they
  // have left.
  static absl::StatusOr<std::shared_ptr<const LiveConfig>> Make(const ServerConfig& config,
                                                                const Model& model,
                                                                ServerMetrics& metrics,
                                                                const LiveConfig* previous);

  int64_t generation = 1;  // of the start; each reload makes one more
  std::string default_level;
  PolicyConfig policy;
  double shadow_fraction = 0;  // of requests whose experiment says nothing else
  Levels levels;
  Experiments experiments;
  ApiKeys keys;
  std::unique_ptr<Guardrails> guardrails;  // null: no arm has any
};

// The one that new requests take. Thread-safe.
class LiveConfigs {
 public:
  explicit LiveConfigs(std::shared_ptr<const LiveConfig> first) : current_(std::move(first)) {}

  // For one request: it sees no other one from then on.
  std::shared_ptr<const LiveConfig> current() const ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    return current_;
  }
  // One thread calls it. Requests that have the one before keep it; it ends on this thread.
  void Replace(std::shared_ptr<const LiveConfig> next) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable Mutex mutex_;
  std::shared_ptr<const LiveConfig> current_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<const LiveConfig>> replaced_;  // that somebody may still have
};

// Names of settings that differ and that only a start takes; `now` is what runs.
std::vector<std::string> NeedRestart(ServerConfig now, ServerConfig next);

}  // namespace skipstone::server
