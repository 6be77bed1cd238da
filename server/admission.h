// From a call to a request of the engine: skip set, experiment, ids, seed, deadline; and from a
// refusal to the status and metadata that the client gets.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/queue_meter.h"
#include "engine/request.h"
#include "engine/request_sink.h"
#include "server/convert.h"
#include "server/serving.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::server {

struct Admitted {
  EngineRequest request;
  v1::AppliedSkip applied;
  std::optional<experiment::ExposureRecord> exposure;  // begun, where somebody takes it
  double shadow_fraction = 0;                          // of such requests
  std::shared_ptr<const LiveConfig> live;              // that chose for it
  std::shared_ptr<const ApiKey> key;                   // pays for its tokens; null: nobody does
  std::string traceparent;                             // of the caller's trace; empty: none
};

// One per call, on the thread that handles it.
class Admission {
 public:
  Admission(grpc::ServerContextBase& context, Time arrival)
      : context_(context), arrival_(arrival) {}

  // Whose call it is, by its key, and of which trace, which the trailing metadata returns.
  // UNAUTHENTICATED; RESOURCE_EXHAUSTED: the key's requests or tokens
  // of this minute are used up.
  absl::Status Authenticate(const Serving& serving);
  // Prepares the engine's request; the sink is the caller's business.
  absl::StatusOr<Admitted> Generate(const v1::GenerateRequest& request, const Serving& serving);
  // The part of a Score call that its items share; prompt and id are still to be set.
  absl::StatusOr<Admitted> Score(const v1::ScoreRequest& request, const Serving& serving);

  const ApiKey* key() const { return key_.get(); }  // once authenticated; null: none is needed

  // Counts and records a refusal, says in the trailing metadata when to come back, and converts the
  // status. `refused`: what the engine had no room for.
  grpc::Status Refuse(const absl::Status& status, const Serving* serving,
                      const QueueMeter::Amount& refused = {.sequences = 1});
  // Says in the trailing metadata of a RESOURCE_EXHAUSTED when to come back, -1 for never.
  void AddPushback(const absl::Status& status, const Serving& serving,
                   const QueueMeter::Amount& refused);

 private:
  struct Choice {
    Level level;
    std::optional<SkipSet> ceiling;
    Assignment assignment;
  };
  absl::StatusOr<Choice> Choose(const v1::Skip& skip, const std::string& key, int priority,
                                const Serving& serving);
  Assignment Assign(const std::string& key, int priority, bool skip_chosen,
                    const Serving& serving) const;
  absl::StatusOr<Admitted> Admit(EngineRequest request, const std::string& id, const Choice& choice,
                                 const Serving& serving);
  // Empty if there is none, or shares are not by tenant.
  absl::StatusOr<std::string> TenantOf(const Serving& serving) const;

  grpc::ServerContextBase& context_;
  const Time arrival_;
  std::shared_ptr<const LiveConfig> live_;  // from when it is authenticated
  std::shared_ptr<const ApiKey> key_;
  Duration quota_wait_{};
  RequestLabels labels_;  // as far as they are known, and so is the tenant
  std::string tenant_;
  std::optional<std::string> traceparent_;
  std::chrono::system_clock::time_point now_ = std::chrono::system_clock::now();
  std::optional<experiment::ExposureRecord> exposure_;  // for a refusal
};

// 128 random bits: nobody guesses another's id.
std::string MakeRequestId();
PromptRules RulesOf(const Serving& serving);
// The key of a call; null: none is needed. UNAUTHENTICATED, which is counted.
absl::StatusOr<std::shared_ptr<const ApiKey>> KeyOf(const grpc::ServerContextBase& context,
                                                    const LiveConfig& live, Metrics& metrics);
// To the tenant that the key names, to all others together without: what a request cost, once it
// has ended. And to the key what was served.
void Charge(const ApiKey* key, const absl::Status& status, const RequestTotals& totals,
            ServerMetrics& metrics);
// Whose requests an Abort of this call may end: those of its key's tenant, else of its connection.
std::string OwnerOf(const grpc::ServerContextBase& context, const ApiKey* key);
// UNAVAILABLE while there is no model or the server drains.
absl::Status CheckServing(const Serving* serving);

}  // namespace skipstone::server
