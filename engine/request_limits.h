// The bounds that a request is checked against before it is taken.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/engine_options.h"
#include "engine/request.h"

namespace skipstone {

// RESOURCE_EXHAUSTED ("can never fit") if a call has more sequences than its tenant may have.
absl::Status CheckTenantLimits(int sequences, int max_running, int max_queued);

// Paths of the fields that `backend` does not serve, such as "sampling.min_p".
std::vector<std::string> UnservedFields(const Backend& backend);

// INVALID_ARGUMENT naming field, value and limit; RESOURCE_EXHAUSTED ("can never fit") where even
// the empty pool is too small.
absl::Status ValidateRequest(const EngineRequest& request, const EngineOptions& options);

}  // namespace skipstone
