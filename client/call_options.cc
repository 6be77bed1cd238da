#include "client/call_options.h"

#include <grpc/grpc.h>
#include <grpc/slice.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

namespace skipstone::client {
namespace {

// A view: it must not outlive `text`.
grpc_slice SliceOf(const std::string& text) {
  return grpc_slice_from_static_buffer(text.data(), text.size());
}

}  // namespace

absl::Status Validate(const CallOptions& options) {
  for (const auto& [key, value] : options.metadata) {
    const grpc_slice key_slice = SliceOf(key);
    if (!grpc_header_key_is_legal(key_slice)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "metadata key \"%s\": only a-z, 0-9, '-', '_' and '.' can be sent", absl::CEscape(key)));
    }
    if (!grpc_is_binary_header(key_slice) && !grpc_header_nonbin_value_is_legal(SliceOf(value))) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "metadata %s: \"%s\": only printable ASCII can be sent, unless the key ends in \"-bin\"",
          key, absl::CEscape(value)));
    }
  }
  return absl::OkStatus();
}

}  // namespace skipstone::client
