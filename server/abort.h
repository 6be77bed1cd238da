// Abort, whose rules every dialect shares.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/serving.h"

namespace skipstone::server {

// Ends those of the live requests that the caller may end: his tenant's or connection's, or any
// where --allow_abort or his key says so. Returns which. INVALID_ARGUMENT: more than 1024 ids;
// UNAUTHENTICATED.
absl::StatusOr<std::vector<std::string>> Abort(const std::vector<std::string>& request_ids,
                                               const grpc::ServerContextBase& context,
                                               const Serving& serving);

}  // namespace skipstone::server
