// Requests that are too large are refused before they are sent. Internal to the library.
#pragma once

#include <google/protobuf/message.h>

#include "absl/status/status.h"

namespace skipstone::client {

// INVALID_ARGUMENT naming the largest field, its bytes and the limit (kMaxRequestBytes of
// client/channel.h). The server would refuse it too, after it had travelled.
absl::Status CheckRequestSize(const google::protobuf::Message& request);

}  // namespace skipstone::client
