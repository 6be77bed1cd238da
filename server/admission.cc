#include "server/admission.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "server/convert.h"
#include "server/logging.h"
#include "server/rpc.h"

namespace skipstone::server {
namespace {

constexpr int kMaxRequestIdBytes = 128;
constexpr int kMaxTenantBytes = 256;

uint64_t RandomBits() {
  thread_local std::mt19937_64 random(std::random_device{}() * 0x9e3779b97f4a7c15ull +
                                      std::random_device{}());
  return random();
}

// Bounded, as the engine's time is an estimate.
std::string PushbackMs(const Serving& serving, const EngineRequest& refused) {
  const double ms = Milliseconds(serving.engine->RetryAfter(refused));
  return absl::StrFormat("%d", static_cast<int>(std::clamp(ms, 20.0, 10000.0)));
}

// Of a call that ends before the engine has it.
Outcome OutcomeOf(const absl::Status& status) {
  if (absl::IsCancelled(status)) return Outcome::kCancelled;
  return absl::IsDeadlineExceeded(status) ? Outcome::kDeadline : Outcome::kRejected;
}

}  // namespace

std::string MakeRequestId() {
  static const uint64_t process = RandomBits();
  static std::atomic<uint64_t> next{0};
  return absl::StrFormat("%016x-%d", process, next++);
}

PromptRules RulesOf(const Serving& serving) {
  const ModelConfig& config = serving.model.config;
  return {*serving.tokenizer, config.eos_ids, config.shape.vocab, config.shape.max_context};
}

absl::Status CheckServing(const Serving* serving) {
  if (serving == nullptr) return absl::UnavailableError("the model is loading");
  if (serving->draining) return absl::UnavailableError("the server is draining");
  return absl::OkStatus();
}

absl::StatusOr<Admission::Choice> Admission::Choose(const v1::Skip& skip, bool has_skip,
                                                    const std::string& key,
                                                    const Serving& serving) {
  Choice choice{.level = serving.levels.default_level()};
  if (has_skip && skip.choice_case() != v1::Skip::CHOICE_NOT_SET) {
    SKIPSTONE_ASSIGN_OR_RETURN(choice.level, serving.levels.Choose(skip));
  } else if (auto assigned = serving.experiments.Assign(
                 {.experiment_key = key,
                  .metadata = [this](const std::string& k) { return MetadataOf(context_, k); },
                  .now = std::chrono::system_clock::now()})) {
    choice = {.level = std::move(assigned->level),
              .experiment = std::move(assigned->experiment),
              .arm = std::move(assigned->arm),
              .isolate = assigned->isolate_prefix_cache};
  }
  labels_.level = choice.level.name;
  if (!choice.arm.empty()) labels_.arm = choice.experiment + "/" + choice.arm;
  // Load must not move a request out of its arm.
  if (choice.arm.empty()) {
    SKIPSTONE_ASSIGN_OR_RETURN(choice.ceiling, serving.levels.Ceiling(skip, choice.level.skip));
  }
  return choice;
}

absl::StatusOr<std::string> Admission::TenantOf(const Serving& serving) const {
  if (serving.tenant_key.empty()) return "";
  const std::string tenant = MetadataOf(context_, serving.tenant_key).value_or("");
  if (tenant.size() > kMaxTenantBytes) {
    return absl::InvalidArgumentError(absl::StrFormat("metadata %s: %d bytes, the limit is %d",
                                                      serving.tenant_key, tenant.size(),
                                                      kMaxTenantBytes));
  }
  if (IsMetadataText(tenant)) return tenant;
  return absl::InvalidArgumentError(absl::StrFormat(
      "metadata %s: only printable ASCII characters are taken", serving.tenant_key));
}

absl::StatusOr<Admitted> Admission::Finish(EngineRequest request, const std::string& id,
                                           const Choice& choice, const Serving& serving) {
  if (id.size() > kMaxRequestIdBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("request_id: %d bytes, the limit is %d", id.size(), kMaxRequestIdBytes));
  }
  if (!IsMetadataText(id)) {
    return absl::InvalidArgumentError("request_id: only printable ASCII characters are taken");
  }
  request.id = id.empty() ? MakeRequestId() : id;
  SKIPSTONE_ASSIGN_OR_RETURN(request.tenant, TenantOf(serving));
  request.skip = choice.level.skip;
  request.ceiling = choice.ceiling;
  static std::atomic<uint64_t> next_call{0};
  request.call = next_call++;
  request.arrival = arrival_;
  request.deadline = DeadlineOf(context_);
  request.labels = labels_;
  if (choice.isolate) request.cache_salt += absl::StrFormat("\n%s", labels_.arm);
  context_.AddInitialMetadata("skipstone-request-id", request.id);
  context_.AddTrailingMetadata("skipstone-level", labels_.level);
  if (!labels_.arm.empty()) context_.AddTrailingMetadata("skipstone-arm", labels_.arm);
  Admitted admitted{.request = std::move(request)};
  admitted.applied = AppliedSkipOf(choice.level, choice.experiment, choice.arm);
  return admitted;
}

absl::StatusOr<Admitted> Admission::Generate(const v1::GenerateRequest& request,
                                             const Serving& serving) {
  SKIPSTONE_ASSIGN_OR_RETURN(const Choice choice, Choose(request.skip(), request.has_skip(),
                                                         request.experiment_key(), serving));
  SKIPSTONE_ASSIGN_OR_RETURN(EngineRequest engine_request,
                             EngineRequestOf(request, RulesOf(serving)));
  if (!request.sampling().has_seed()) engine_request.sampling.seed = RandomBits();
  return Finish(std::move(engine_request), request.request_id(), choice, serving);
}

absl::StatusOr<Admitted> Admission::Score(const v1::ScoreRequest& request, const Serving& serving) {
  constexpr int kMaxItems = 256;
  constexpr uint32_t kMaxAlternatives = 20;
  SKIPSTONE_ASSIGN_OR_RETURN(const Choice choice,
                             Choose(request.skip(), request.has_skip(), "", serving));
  if (request.skip().has_adaptive()) {
    return absl::InvalidArgumentError("skip.adaptive: a score runs exactly what was chosen");
  }
  if (request.items_size() < 1 || request.items_size() > kMaxItems) {
    return absl::InvalidArgumentError(
        absl::StrFormat("items: %d items, 1 to %d are wanted", request.items_size(), kMaxItems));
  }
  if (request.top_logprobs() > kMaxAlternatives) {
    return absl::InvalidArgumentError(absl::StrFormat("top_logprobs: %d, the limit is %d",
                                                      request.top_logprobs(), kMaxAlternatives));
  }
  EngineRequest engine_request;
  // One alternative tells whether the scored token was the likeliest.
  engine_request.output.prompt_logprobs = std::max<int>(1, request.top_logprobs());
  return Finish(std::move(engine_request), request.request_id(), choice, serving);
}

void AddPushback(grpc::ServerContextBase& context, const absl::Status& status,
                 const Serving& serving, const EngineRequest& refused) {
  context.AddTrailingMetadata("grpc-retry-pushback-ms",
                              IsNeverFits(status) ? "-1" : PushbackMs(serving, refused));
}

grpc::Status Admission::Refuse(const absl::Status& status, const Serving* serving,
                               const EngineRequest& refused) {
  if (absl::IsResourceExhausted(status) && serving != nullptr) {
    AddPushback(context_, status, *serving, refused);
  }
  if (serving != nullptr) {
    // A level that does not exist must not become a label.
    if (labels_.level.empty()) labels_.level = kCustomLevel;
    serving->metrics.OnRejected(labels_, SystemClock().Now() - arrival_, OutcomeOf(status));
  }
  LogLimited(Severity::kInfo, "refused",
             {{"code", absl::StatusCodeToString(status.code())},
              {"message", std::string(status.message())},
              {"peer", context_.peer()}});
  return ToGrpc(status);
}

}  // namespace skipstone::server
