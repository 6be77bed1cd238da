#include "client/status.h"

#include "absl/strings/cord.h"

namespace skipstone::client {

absl::Status ToAbslStatus(const grpc::Status& status) {
  // Both enumerate google.rpc.Code; abseil turns numbers it does not know into kUnknown.
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  if (!status.error_details().empty()) {
    result.SetPayload("grpc-status-details-bin", absl::Cord(status.error_details()));
  }
  return result;
}

}  // namespace skipstone::client
