#include "server/admission.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/status.h"
#include "server/convert.h"
#include "server/describe.h"
#include "server/exposure.h"
#include "server/logging.h"
#include "server/policy.h"
#include "server/rpc.h"

namespace skipstone::server {
namespace {

constexpr int kMaxRequestIdBytes = 128;
constexpr int kMaxTenantBytes = 256;
// Many tokens, and seldom anybody who waits for each of them: behind what others wait for.
constexpr int kScorePriority = -1;

uint64_t RandomBits() {
  thread_local std::mt19937_64 random(std::random_device{}() * 0x9e3779b97f4a7c15ull +
                                      std::random_device{}());
  return random();
}

// Bounded, as the engine's time is an estimate. Jitter parts those who were refused together.
std::string PushbackMs(const Serving& serving, const QueueMeter::Amount& refused,
                       const std::string& tenant) {
  const double jitter = 0.75 + 0.5 * 0x1.0p-64 * static_cast<double>(RandomBits());
  const double ms = Milliseconds(serving.engine->RetryAfter(refused, tenant)) * jitter;
  return absl::StrFormat("%d", static_cast<int>(std::clamp(ms, 20.0, 10000.0)));
}

// Of a call that ends before the engine has it.
Outcome OutcomeOf(const absl::Status& status) {
  if (absl::IsCancelled(status)) return Outcome::kCancelled;
  return absl::IsDeadlineExceeded(status) ? Outcome::kDeadline : Outcome::kRejected;
}

uint64_t NextCall() {
  static std::atomic<uint64_t> next{1};
  return next++;
}

// Each part with its length, so that no other parts make the same salt.
std::string SaltOf(const std::string& tenant, const std::string& cache_salt,
                   const std::string& arm) {
  return absl::StrFormat("%d:%s%d:%s%d:%s", tenant.size(), tenant, cache_salt.size(), cache_salt,
                         arm.size(), arm);
}

}  // namespace

std::string MakeRequestId() {
  uint64_t bits[2];
  SKIPSTONE_CHECK(getentropy(bits, sizeof(bits)) == 0);
  return absl::StrFormat("%016x%016x", bits[0], bits[1]);
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

absl::StatusOr<std::shared_ptr<const ApiKey>> KeyOf(const grpc::ServerContextBase& context,
                                                    const LiveConfig& live, Metrics& metrics) {
  if (live.keys.empty()) return nullptr;
  const ApiKeys::Found found = live.keys.Find(MetadataOf(context, "authorization"), absl::Now());
  if (found.key != nullptr) return found.key;
  const char* const reason = NameOf(found.refusal);
  metrics.server().api_key_refusals_total(reason).Increment();
  return absl::UnauthenticatedError(
      absl::StrFormat("metadata authorization: the key is %s; 'Bearer KEY' is wanted", reason));
}

std::string OwnerOf(const grpc::ServerContextBase& context, const ApiKey* key) {
  return key == nullptr ? context.peer() : "tenant " + key->tenant;
}

void Charge(const ApiKey* key, const absl::Status& status, const RequestTotals& totals,
            ServerMetrics& metrics) {
  const std::string tenant = key == nullptr ? kOtherTenants : key->tenant;
  metrics.tenant_attributed_seconds_total(tenant).Increment(Seconds(totals.timing.attributed));
  metrics.tenant_kv_page_seconds_total(tenant).Increment(totals.kv_page_seconds);
  if (!status.ok() && !totals.first_token) return;
  metrics.tenant_prompt_tokens_total(tenant).Increment(totals.prompt_tokens);
  metrics.tenant_generation_tokens_total(tenant).Increment(totals.completion_tokens);
  if (key == nullptr) return;
  key->tokens->Take(totals.prompt_tokens + totals.completion_tokens, SystemClock().Now());
}

absl::Status Admission::Authenticate(const Serving& serving) {
  live_ = serving.live.current();
  traceparent_ = TraceParentOf(MetadataOf(context_, "traceparent"));
  if (traceparent_) context_.AddTrailingMetadata("traceparent", *traceparent_);
  SKIPSTONE_ASSIGN_OR_RETURN(key_, KeyOf(context_, *live_, serving.metrics));
  if (key_ == nullptr) return absl::OkStatus();
  tenant_ = key_->tenant;
  const char* what = "tokens";
  quota_wait_ = key_->tokens->Wait(arrival_);
  if (quota_wait_ == Duration::zero()) {
    what = "requests";
    quota_wait_ = key_->requests->TryTake(1, arrival_);
  }
  if (quota_wait_ == Duration::zero()) return absl::OkStatus();
  serving.metrics.server().api_key_refusals_total("quota").Increment();
  return absl::ResourceExhaustedError(
      absl::StrFormat("this key's %s of the minute are used up", what));
}

Assignment Admission::Assign(const std::string& key, int priority, bool skip_chosen,
                             const Serving& serving) const {
  const auto metadata = [this](const std::string& k) { return MetadataOf(context_, k); };
  const std::string tenant_key = serving.config.tenant_key();
  std::string tenant = tenant_;
  if (key_ == nullptr && !tenant_key.empty()) tenant = metadata(tenant_key).value_or("");
  Assignment assignment = live_->experiments.Assign({.experiment_key = key,
                                                     .metadata = metadata,
                                                     .now = now_,
                                                     .tenant = tenant,
                                                     .priority = priority,
                                                     .skip_chosen = skip_chosen});
  for (const experiment::Exposure& exposure : assignment.exposures) {
    if (exposure.assigned()) continue;
    serving.metrics.server().experiment_unassigned_total(NameOf(exposure.reason)).Increment();
  }
  return assignment;
}

absl::StatusOr<Admission::Choice> Admission::Choose(const v1::Skip& skip, const std::string& key,
                                                    int priority, const Serving& serving) {
  Choice choice;
  choice.level = live_->levels.default_level();
  const bool chosen = skip.choice_case() != v1::Skip::CHOICE_NOT_SET;
  if (chosen) {
    SKIPSTONE_ASSIGN_OR_RETURN(choice.level, live_->levels.Choose(skip));
    if (key_) {
      SKIPSTONE_RETURN_IF_ERROR(key_->Check("skip", choice.level.name, choice.level.skip));
    }
  }
  choice.assignment = Assign(key, priority, chosen, serving);
  const Assignment& assignment = choice.assignment;
  if (assignment.level != nullptr) choice.level = *assignment.level;
  labels_.level = choice.level.name;
  if (!assignment.arm.empty()) labels_.arm = assignment.experiment + "/" + assignment.arm;
  // Load must not move a request out of its arm's level.
  if (assignment.level == nullptr) {
    SKIPSTONE_ASSIGN_OR_RETURN(choice.ceiling, live_->levels.Ceiling(skip, choice.level));
  }
  if (key_ && choice.ceiling) {
    const v1::Adaptive& adaptive = skip.adaptive();
    const std::string level =
        adaptive.has_ceiling_level() ? adaptive.ceiling_level() : kCustomLevel;
    SKIPSTONE_RETURN_IF_ERROR(key_->Check("skip.adaptive", level, *choice.ceiling));
  }
  return choice;
}

absl::StatusOr<std::string> Admission::TenantOf(const Serving& serving) const {
  if (key_) return key_->tenant;
  const std::string key = serving.config.tenant_key();
  if (key.empty()) return "";
  const std::string tenant = MetadataOf(context_, key).value_or("");
  if (tenant.size() > kMaxTenantBytes) {
    return absl::InvalidArgumentError(absl::StrFormat("metadata %s: %d bytes, the limit is %d", key,
                                                      tenant.size(), kMaxTenantBytes));
  }
  if (IsMetadataText(tenant)) return tenant;
  return absl::InvalidArgumentError(
      absl::StrFormat("metadata %s: only printable ASCII characters are taken", key));
}

absl::StatusOr<Admitted> Admission::Admit(EngineRequest request, const std::string& id,
                                          const Choice& choice, const Serving& serving) {
  if (id.size() > kMaxRequestIdBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("request_id: %d bytes, the limit is %d", id.size(), kMaxRequestIdBytes));
  }
  if (!IsMetadataText(id)) {
    return absl::InvalidArgumentError("request_id: only printable ASCII characters are taken");
  }
  request.id = id.empty() ? MakeRequestId() : id;
  request.call = NextCall();
  request.owner = OwnerOf(context_, key_.get());
  SKIPSTONE_ASSIGN_OR_RETURN(tenant_, TenantOf(serving));
  request.tenant = tenant_;
  request.skip = choice.level.skip;
  request.ceiling = choice.ceiling;
  request.arrival = arrival_;
  request.deadline = DeadlineOf(context_);
  request.labels = labels_;
  const Assignment& assignment = choice.assignment;
  const bool shared = live_->policy.share_prefix_cache_across_tenants;
  request.cache_salt =
      SaltOf(shared ? "" : request.tenant, request.cache_salt, assignment.cache_salt);
  context_.AddTrailingMetadata("skipstone-level", labels_.level);
  for (const experiment::Exposure& exposure : assignment.exposures) {
    if (!exposure.assigned()) continue;
    context_.AddTrailingMetadata("skipstone-arm", exposure.experiment + "/" + exposure.arm);
  }
  if (exposure_) exposure_->request_id = request.id;
  Admitted admitted{.request = std::move(request),
                    .exposure = exposure_,
                    .shadow_fraction = assignment.shadow_fraction.value_or(live_->shadow_fraction),
                    .live = live_,
                    .key = key_,
                    .traceparent = traceparent_.value_or("")};
  admitted.applied = AppliedSkipOf(choice.level, assignment.experiment, assignment.arm);
  return admitted;
}

absl::StatusOr<Admitted> Admission::Generate(const v1::GenerateRequest& request,
                                             const Serving& serving) {
  if (!live_) live_ = serving.live.current();
  SKIPSTONE_ASSIGN_OR_RETURN(const Choice choice, Choose(request.skip(), request.experiment_key(),
                                                         request.priority(), serving));
  if (TakesExposures(serving)) {
    exposure_ = BeginExposure(choice.assignment, choice.level, now_);
    exposure_->traceparent = traceparent_;
  }
  SKIPSTONE_ASSIGN_OR_RETURN(EngineRequest engine_request,
                             EngineRequestOf(request, RulesOf(serving)));
  SKIPSTONE_RETURN_IF_ERROR(CheckPolicy(engine_request, live_->policy));
  if (!request.sampling().has_seed()) engine_request.sampling.seed = RandomBits();
  return Admit(std::move(engine_request), request.request_id(), choice, serving);
}

absl::StatusOr<Admitted> Admission::Score(const v1::ScoreRequest& request, const Serving& serving) {
  constexpr int kMaxItems = 256;
  if (!live_) live_ = serving.live.current();
  const int priority = request.has_priority() ? request.priority() : kScorePriority;
  SKIPSTONE_ASSIGN_OR_RETURN(const Choice choice, Choose(request.skip(), "", priority, serving));
  if (request.skip().has_adaptive()) {
    return absl::InvalidArgumentError("skip.adaptive: a score runs exactly what was chosen");
  }
  if (request.items_size() < 1 || request.items_size() > kMaxItems) {
    return absl::InvalidArgumentError(
        absl::StrFormat("items: %d items, 1 to %d are wanted", request.items_size(), kMaxItems));
  }
  if (!kAlternativesLimits.Hold(request.top_logprobs())) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "top_logprobs: %d, the limit is %g", request.top_logprobs(), kAlternativesLimits.most));
  }
  SKIPSTONE_RETURN_IF_ERROR(CheckField("priority", request.priority(), kPriorityLimits));
  SKIPSTONE_RETURN_IF_ERROR(CheckPolicy(request, live_->policy));
  EngineRequest engine_request;
  engine_request.priority = priority;
  // One alternative tells whether the scored token was the likeliest.
  engine_request.output.prompt_logprobs = std::max<int>(1, request.top_logprobs());
  return Admit(std::move(engine_request), request.request_id(), choice, serving);
}

void Admission::AddPushback(const absl::Status& status, const Serving& serving,
                            const QueueMeter::Amount& refused) {
  std::string ms = "-1";
  if (quota_wait_ > Duration::zero()) {
    ms = absl::StrFormat("%.0f", std::ceil(Milliseconds(quota_wait_)));
  } else if (!IsNeverFits(status)) {
    ms = PushbackMs(serving, refused, tenant_);
  }
  context_.AddTrailingMetadata("grpc-retry-pushback-ms", ms);
}

grpc::Status Admission::Refuse(const absl::Status& status, const Serving* serving,
                               const QueueMeter::Amount& refused) {
  if (absl::IsResourceExhausted(status) && serving != nullptr) {
    AddPushback(status, *serving, refused);
  }
  if (serving != nullptr) {
    // A level that does not exist must not become a label.
    if (labels_.level.empty()) labels_.level = kCustomLevel;
    const Duration e2e = SystemClock().Now() - arrival_;
    serving->metrics.OnRejected(labels_, e2e, OutcomeOf(status));
    if (exposure_) {
      EndExposure({.outcome = OutcomeOf(status), .timing = {.queue = e2e, .e2e = e2e}}, *exposure_);
      TakeExposure(*std::move(exposure_), *serving);
    }
  }
  LogLimited(Severity::kInfo, "refused",
             {{"code", absl::StatusCodeToString(status.code())},
              {"message", std::string(status.message())},
              {"peer", context_.peer()},
              {"traceparent", traceparent_.value_or("")}});
  return ToGrpc(status);
}

}  // namespace skipstone::server
