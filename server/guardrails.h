// Watches the arms of experiments by their guardrails, and turns off those that break one: their
// requests then get the default level, none fails. A ramp takes its next step when all guardrails
// of its arms hold, and none while one is off.
//
// What it has seen, what is off and how far ramps have come survives a restart and reaches other
// replicas by a folder that they share: each writes a file of its own there and reads the others'.
// An arm that one replica turns off is off in all within kSyncEvery; the replica that is furthest
// in a ramp takes the others along. A changed experiment, which is another generation, begins anew.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/experiment/arm_guardrail.h"
#include "base/mutex.h"
#include "server/experiments.h"
#include "server/guardrail_state.h"
#include "server/server_metrics.h"

namespace skipstone::server {

struct WatchedExperiment {
  struct Arm {
    std::string name;
    std::vector<experiment::GuardrailSpec> limits;  // none: it is only kept off or on
  };
  std::string name;
  // Of the steps of its ramp; the last one, of the configured weights, names its state.
  std::vector<uint64_t> generations;
  std::chrono::milliseconds hold{};  // of each step, at least
  experiment::Design design = experiment::Design::kMixed;
  std::vector<Arm> arms;  // what is ramped is all but the first
};

// All enabled experiments that have guardrails or a ramp. INVALID_ARGUMENT names the experiment: an
// arm that it does not have, the errors of ArmGuardrail, an arm that is ramped without a limit.
absl::StatusOr<std::vector<WatchedExperiment>> WatchedExperimentsOf(const Experiments& experiments);

// Thread-safe.
class Guardrails {
 public:
  struct Options {
    std::string folder;                    // empty: nothing survives
    std::string replica;                   // names the file; letters, digits, '-', '.' and '_'
    std::function<int64_t()> now_unix_ms;  // unset: the system's clock
    // Of those before it in this process, which know more than the folder.
    std::optional<GuardrailFile> seen = {};
  };
  static constexpr std::chrono::seconds kSyncEvery{5};

  // References must outlive it. Takes over what the folder says. INVALID_ARGUMENT names experiment,
  // arm and limit; UNAVAILABLE: the folder cannot be written. Files of others that are no states
  // are said and passed over.
  static absl::StatusOr<std::unique_ptr<Guardrails>> Make(
      const std::vector<WatchedExperiment>& experiments, ArmSwitches& switches,
      ServerMetrics& metrics, const Options& options);
  ~Guardrails();

  // Of every request that ended. Does not block: it computes a few sums.
  void Take(const experiment::ExposureRecord& record) ABSL_LOCKS_EXCLUDED(mutex_);

  // What its thread does every kSyncEvery: writes its file, if something changed, and reads the
  // others'. Errors are logged, once until it works again.
  void Sync() ABSL_LOCKS_EXCLUDED(mutex_, sync_mutex_);

  // What others of this process are to go on with.
  GuardrailFile File() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Writes nothing from now on: others have the file. Does not wait for a write that is under way,
  // after which theirs comes.
  void Retire() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Arm {
    std::string name;
    std::vector<experiment::ArmGuardrail> guardrails;
  };
  // What does not change, but for guardrails and since_unix_ms, which are under mutex_.
  struct State {
    WatchedExperiment watched;
    std::vector<Arm> arms;
    int64_t since_unix_ms = 0;  // of the step of its ramp

    size_t last_step() const { return watched.generations.size() - 1; }
    uint64_t generation() const { return watched.generations.back(); }
    Arm* Find(const std::string& arm);
  };
  Guardrails(ArmSwitches& switches, ServerMetrics& metrics, Options options);

  absl::Status Add(const WatchedExperiment& watched);
  // Null: it is not watched, or that generation is none of its own.
  State* Find(const std::string& experiment, uint64_t generation);
  // Why the record's arm is to be turned off; empty: it is not.
  std::string Judge(const experiment::ExposureRecord& record, const experiment::Exposure& exposure,
                    Arm& arm) ABSL_LOCKS_EXCLUDED(mutex_);
  // False: it is off already.
  bool TurnOff(const State& state, const std::string& arm, const std::string& why);
  void TakeStepIfDue(State& state) ABSL_LOCKS_EXCLUDED(mutex_);
  void GoTo(State& state, size_t step, int64_t since_unix_ms) ABSL_LOCKS_EXCLUDED(mutex_);
  void Changed() ABSL_LOCKS_EXCLUDED(mutex_);
  // `own` has sums, too.
  absl::Status TakeOver(const GuardrailFile& file, bool own) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status ReadFolder(bool with_own) ABSL_EXCLUSIVE_LOCKS_REQUIRED(sync_mutex_);
  void Run();

  ArmSwitches& switches_;
  ServerMetrics& metrics_;
  const Options options_;
  std::vector<State> experiments_;
  mutable Mutex mutex_;
  CondVar wake_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool retired_ ABSL_GUARDED_BY(mutex_) = false;
  bool changed_ ABSL_GUARDED_BY(mutex_) = true;  // since the file was written
  Mutex sync_mutex_;                             // one Sync at a time
  bool complained_ ABSL_GUARDED_BY(sync_mutex_) = false;
  std::set<std::string> broken_ ABSL_GUARDED_BY(sync_mutex_);  // files that are said to be
  std::thread thread_;
};

}  // namespace skipstone::server
