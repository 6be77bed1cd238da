// The bounds that a request is checked against before it is taken.
#pragma once

#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "engine/request.h"

namespace skipstone {

struct RequestLimits {
  int num_layers = 0;
  int vocab = 0;
  int max_context = 0;  // tokens, prompt and output
  int page_tokens = 16;
  int64_t num_pages = 0;
  int max_sequences = 0;
  int max_queue = std::numeric_limits<int>::max();  // sequences
  int64_t max_queue_tokens = std::numeric_limits<int64_t>::max();
  int max_tenant_running = 0;  // sequences of a tenant; 0: no limit
  int max_tenant_queued = 0;
};

// RESOURCE_EXHAUSTED ("can never fit") if a call has more sequences than its tenant may have.
absl::Status CheckTenantLimits(int sequences, int max_running, int max_queued);

// INVALID_ARGUMENT naming field, value and limit; RESOURCE_EXHAUSTED ("can never fit") where even
// the empty pool is too small.
absl::Status ValidateRequest(const EngineRequest& request, const RequestLimits& limits);

}  // namespace skipstone
