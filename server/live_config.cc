#include "server/live_config.h"

#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/flag_set.h"
#include "base/status.h"
#include "server/logging.h"

namespace skipstone::server {
namespace {

// The name of a file for this replica.
std::string ReplicaName() {
  char name[256] = {};
  if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == 0) return "replica";
  return name;
}

absl::StatusOr<std::unique_ptr<Guardrails>> GuardrailsOf(const Experiments& experiments,
                                                         const std::string& folder,
                                                         ServerMetrics& metrics,
                                                         const LiveConfig* previous) {
  SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<WatchedExperiment> watched,
                             WatchedExperimentsOf(experiments));
  if (watched.empty()) return nullptr;
  Guardrails::Options options{.folder = folder, .replica = ReplicaName()};
  if (previous != nullptr && previous->guardrails) options.seen = previous->guardrails->File();
  return Guardrails::Make(watched, experiments.switches(), metrics, options);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const LiveConfig>> LiveConfig::Make(const ServerConfig& config,
                                                                   const Model& model,
                                                                   ServerMetrics& metrics,
                                                                   const LiveConfig* previous) {
  SKIPSTONE_ASSIGN_OR_RETURN(
      Levels levels, Levels::Make(config, model.num_layers, model.max_context, model.levels_file));
  SKIPSTONE_ASSIGN_OR_RETURN(Experiments experiments,
                             Experiments::Make(config, levels, model.fingerprint));
  SKIPSTONE_ASSIGN_OR_RETURN(std::unique_ptr<Guardrails> guardrails,
                             GuardrailsOf(experiments, config.experiment_state, metrics, previous));
  // Last: it changes what the keys before have left.
  SKIPSTONE_ASSIGN_OR_RETURN(
      ApiKeys keys,
      ApiKeys::Make(config.keys, levels, previous == nullptr ? nullptr : &previous->keys));
  for (const std::string& warning : experiments.warnings()) {
    LogEvent(Severity::kWarning, "experiments", {{"message", warning}});
  }
  return std::shared_ptr<const LiveConfig>(
      new LiveConfig{.generation = previous == nullptr ? 1 : previous->generation + 1,
                     .default_level = config.default_level,
                     .policy = config.policy,
                     .shadow_fraction = config.shadow_fraction,
                     .levels = std::move(levels),
                     .experiments = std::move(experiments),
                     .keys = std::move(keys),
                     .guardrails = std::move(guardrails)});
}

void LiveConfigs::Replace(std::shared_ptr<const LiveConfig> next) {
  if (const auto now = current(); now->guardrails) now->guardrails->Retire();
  {
    MutexLock lock(mutex_);
    replaced_.push_back(std::exchange(current_, std::move(next)));
  }
  // Ends a thread, which no request is to wait for.
  std::erase_if(replaced_, [](const auto& each) { return each.use_count() == 1; });
}

std::vector<std::string> NeedRestart(ServerConfig now, ServerConfig next) {
  static const std::set<std::string> kLive = {"default_level", "shadow_fraction"};
  FlagSet of_now, of_next;
  now.AddTo(of_now);
  next.AddTo(of_next);
  std::vector<std::string> names;
  for (const FlagSet::Flag& flag : of_now.flags()) {
    if (kLive.contains(flag.name)) continue;
    if (flag.value.write() != of_next.Find(flag.name)->value.write()) names.push_back(flag.name);
  }
  // The engine's, of which it has one value.
  if (now.policy.max_tenant_running != next.policy.max_tenant_running) {
    names.emplace_back("policy.max_tenant_running");
  }
  if (now.policy.max_tenant_queued != next.policy.max_tenant_queued) {
    names.emplace_back("policy.max_tenant_queued");
  }
  if (now.buckets != next.buckets) names.emplace_back("buckets");
  return names;
}

}  // namespace skipstone::server
