// gRPC's status as abseil's: same code, same message.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace skipstone::client {

// Binary details, if any, become the payload "grpc-status-details-bin".
absl::Status ToAbslStatus(const grpc::Status& status);

}  // namespace skipstone::client
