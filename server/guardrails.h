// Watches the arms of experiments by their guardrails, and turns off those that break one: their
// requests then get the default level, none fails.
//
// What it has seen, and what is off, survives a restart and reaches other replicas by a folder that
// they share: each writes a file of its own there and reads the others'. An arm that one replica
// turns off is off in all within kSyncEvery. A changed experiment, which is another generation,
// begins anew.
#pragma once

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/experiment/arm_guardrail.h"
#include "base/mutex.h"
#include "server/experiments.h"
#include "server/metric_table.h"

namespace skipstone::server {

struct WatchedArm {
  std::string experiment;
  std::string arm;
  uint64_t generation = 0;
  experiment::Design design = experiment::Design::kMixed;
  std::vector<experiment::GuardrailSpec> limits;  // none: it is only kept off or on
};

// All arms of enabled experiments that have guardrails. INVALID_ARGUMENT names the experiment: an
// arm that it does not have, or the errors of ArmGuardrail.
absl::StatusOr<std::vector<WatchedArm>> WatchedArmsOf(const Experiments& experiments);

// Thread-safe.
class Guardrails {
 public:
  struct Options {
    std::string folder;   // empty: nothing survives
    std::string replica;  // names the file; letters, digits, '-', '.' and '_'
  };
  static constexpr std::chrono::seconds kSyncEvery{5};

  // References must outlive it. Takes over what the folder says. INVALID_ARGUMENT names experiment,
  // arm and limit; UNAVAILABLE: the folder cannot be written. Files of others that are no states
  // are said and passed over.
  static absl::StatusOr<std::unique_ptr<Guardrails>> Make(const std::vector<WatchedArm>& arms,
                                                          ArmSwitches& switches,
                                                          ServerMetrics& metrics,
                                                          const Options& options);
  ~Guardrails();

  // Of every request that ended. Does not block: it computes a few sums.
  void Take(const experiment::ExposureRecord& record) ABSL_LOCKS_EXCLUDED(mutex_);

  // What its thread does every kSyncEvery: writes its file, if something changed, and reads the
  // others'. Errors are logged, once until it works again.
  void Sync() ABSL_LOCKS_EXCLUDED(mutex_, sync_mutex_);

 private:
  struct Arm {
    WatchedArm watched;
    std::vector<experiment::ArmGuardrail> guardrails;
  };
  Guardrails(ArmSwitches& switches, ServerMetrics& metrics, const Options& options)
      : switches_(switches), metrics_(metrics), options_(options) {}

  absl::Status Add(const WatchedArm& watched);
  // False: it is off already.
  bool TurnOff(const WatchedArm& arm, const std::string& why);
  Arm* Find(const std::string& experiment, const std::string& arm, uint64_t generation);
  std::string StateText() ABSL_LOCKS_EXCLUDED(mutex_);
  // Of one file: `own` has sums, too.
  absl::Status TakeState(const std::string& text, bool own) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status ReadFolder(bool with_own) ABSL_EXCLUSIVE_LOCKS_REQUIRED(sync_mutex_);
  void Run();

  ArmSwitches& switches_;
  ServerMetrics& metrics_;
  const Options options_;
  std::vector<Arm> arms_;  // their guardrails under mutex_
  Mutex mutex_;
  CondVar wake_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool changed_ ABSL_GUARDED_BY(mutex_) = true;  // since the file was written
  Mutex sync_mutex_;                             // one Sync at a time
  bool complained_ ABSL_GUARDED_BY(sync_mutex_) = false;
  std::set<std::string> broken_ ABSL_GUARDED_BY(sync_mutex_);  // files that are said to be
  std::thread thread_;
};

}  // namespace skipstone::server
