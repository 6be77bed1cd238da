// What the operator allows clients to ask for, within the ranges of the contract. INVALID_ARGUMENT
// names field, value and the policy's limit.
#pragma once

#include "absl/status/status.h"
#include "engine/request.h"
#include "server/server_config.h"
#include "skipstone/v1/inference.pb.h"

namespace skipstone::server {

// Of a request whose fields are in range.
absl::Status CheckPolicy(const EngineRequest& request, const PolicyConfig& policy);
// The same; RESOURCE_EXHAUSTED ("can never fit") if it has more items than a tenant may have.
absl::Status CheckPolicy(const v1::ScoreRequest& request, const PolicyConfig& policy);

}  // namespace skipstone::server
