#include "engine/request_limits.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "base/request_fields.h"
#include "base/status.h"
#include "engine/engine.h"
#include "engine/kv/sequence_pages.h"

namespace skipstone {
namespace {

constexpr char kNeverFits[] = "can never fit";

absl::Status ValidatePrompt(const EngineRequest& request, const RequestLimits& limits) {
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  if (prompt == 0) return absl::InvalidArgumentError("prompt: it has no tokens");
  // A text that is scored needs no room for an output.
  const int64_t most = limits.max_context - (request.score_from > 0 ? 0 : 1);
  if (prompt > most) {
    return absl::InvalidArgumentError(
        absl::StrFormat("prompt: %d tokens, the limit is %d (context of %d tokens)", prompt, most,
                        limits.max_context));
  }
  for (size_t i = 0; i < request.prompt.size(); ++i) {
    if (request.prompt[i] >= 0 && request.prompt[i] < limits.vocab) continue;
    return absl::InvalidArgumentError(
        absl::StrFormat("prompt: token id %d at index %d is outside the vocabulary of %d",
                        request.prompt[i], i, limits.vocab));
  }
  if (request.score_from < 0 || request.score_from >= std::max<int64_t>(prompt, 1)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "prompt: nothing to score from token %d on in %d tokens", request.score_from, prompt));
  }
  return absl::OkStatus();
}

absl::Status ValidatePages(const EngineRequest& request, const EngineOptions& options) {
  int64_t stored = static_cast<int64_t>(request.prompt.size());
  if (request.score_from > 0) {
    stored -= 1;
  } else if (request.stopping.max_tokens) {
    stored =
        std::min<int64_t>(stored + *request.stopping.max_tokens, options.limits.max_context) - 1;
  }
  const int64_t pages = MostPagesFor(stored, request.skip, options.scheduler.page_tokens);
  if (pages <= options.scheduler.num_pages) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "the request %s the K/V pool: prompt and max_tokens need %d pages of %d "
      "tokens, the pool has %d",
      kNeverFits, pages, options.scheduler.page_tokens, options.scheduler.num_pages));
}

absl::Status ValidateServed(const SamplingParams& sampling, const RequestLimits& limits) {
  absl::Status status;
  ForEachRequestField([&](const char* path, auto member, const FieldLimits&, const char*) {
    if constexpr (requires { sampling.*member; }) {
      if (sampling.*member == SamplingParams().*member) return;
      if (!absl::c_linear_search(limits.unserved, path)) return;
      status = absl::InvalidArgumentError(
          absl::StrFormat("%s: the server's backend does not serve it", path));
    }
  });
  return status;
}

}  // namespace

std::vector<std::string> UnservedFields(const Backend& backend) {
  std::vector<std::string> paths;
  ForEachRequestField([&](std::string_view path, auto member, const FieldLimits&, const char*) {
    if constexpr (requires(SamplingParams sampling) { sampling.*member; }) {
      if (!backend.Serves(path.substr(path.find('.') + 1))) paths.emplace_back(path);
    }
  });
  return paths;
}

absl::Status CheckTenantLimits(int sequences, int max_running, int max_queued) {
  const auto check = [&](int most, const char* name) {
    if (most == 0 || sequences <= most) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrFormat("the request %s its tenant's limit: it has %d sequences, %s is %d",
                        kNeverFits, sequences, name, most));
  };
  SKIPSTONE_RETURN_IF_ERROR(check(max_running, "max_tenant_running"));
  return check(max_queued, "max_tenant_queued");
}

absl::Status ValidateRequest(const EngineRequest& request, const EngineOptions& options) {
  const RequestLimits& limits = options.limits;
  if (request.id.empty()) return absl::InvalidArgumentError("request_id: it is empty");
  if (request.n < 1) return absl::InvalidArgumentError(absl::StrFormat("n: %d < 1", request.n));
  if (request.skip.num_layers() != limits.num_layers) {
    return absl::InvalidArgumentError(absl::StrFormat("skip: made for %d layers, the model has %d",
                                                      request.skip.num_layers(),
                                                      limits.num_layers));
  }
  if (request.stopping.max_tokens && *request.stopping.max_tokens < 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("stopping.max_tokens: %d < 1", *request.stopping.max_tokens));
  }
  if (request.n > limits.max_queue) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("the request %s the queue: n is %d, %d sequences may wait", kNeverFits,
                        request.n, limits.max_queue));
  }
  SKIPSTONE_RETURN_IF_ERROR(
      CheckTenantLimits(request.n, limits.max_tenant_running, limits.max_tenant_queued));
  SKIPSTONE_RETURN_IF_ERROR(ValidateServed(request.sampling, limits));
  SKIPSTONE_RETURN_IF_ERROR(ValidatePrompt(request, limits));
  return ValidatePages(request, options);
}

bool IsNeverFits(const absl::Status& status) {
  return absl::IsResourceExhausted(status) && absl::StrContains(status.message(), kNeverFits);
}

}  // namespace skipstone
