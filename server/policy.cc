#include "server/policy.h"

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/request_limits.h"

namespace skipstone::server {
namespace {

absl::Status Within(const char* field, int value, const char* policy, int most) {
  if (value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: %d, the policy's limit is %d (policy.%s)", field, value, most, policy));
}

}  // namespace

absl::Status CheckPolicy(const EngineRequest& request, const PolicyConfig& policy) {
  const OutputParams& output = request.output;
  SKIPSTONE_RETURN_IF_ERROR(
      Within("priority", request.priority, "max_priority", policy.max_priority));
  SKIPSTONE_RETURN_IF_ERROR(Within("n", request.n, "max_n", policy.max_n));
  SKIPSTONE_RETURN_IF_ERROR(
      Within("output.logprobs", output.logprobs, "max_logprobs", policy.max_logprobs));
  return Within("output.prompt_logprobs", output.prompt_logprobs, "max_logprobs",
                policy.max_logprobs);
}

absl::Status CheckPolicy(const v1::ScoreRequest& request, const PolicyConfig& policy) {
  SKIPSTONE_RETURN_IF_ERROR(
      Within("priority", request.priority(), "max_priority", policy.max_priority));
  SKIPSTONE_RETURN_IF_ERROR(Within("top_logprobs", static_cast<int>(request.top_logprobs()),
                                   "max_logprobs", policy.max_logprobs));
  return CheckTenantLimits(request.items_size(), policy.max_tenant_running,
                           policy.max_tenant_queued);
}

}  // namespace skipstone::server
