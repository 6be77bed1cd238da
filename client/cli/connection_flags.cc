#include "client/cli/connection_flags.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

namespace skipstone::client {

void ConnectionFlags::AddTo(FlagSet& flags) {
  flags.Add("server", &server, "HOST:PORT or gRPC target");
  flags.Add("timeout", &timeout,
            "deadline of each call, such as 500ms or 30s; default none, but a server that is away "
            "is waited for 10s");
  flags.AddList("metadata", &metadata, "KEY=VALUE sent with each call; may be repeated");
  AddJsonTo(flags);
}

void ConnectionFlags::AddJsonTo(FlagSet& flags) {
  flags.Add("json", &json, "print JSON instead of text and tables");
}

absl::Status ConnectionFlags::ReadInto(CallOptions& options) const {
  if (server.empty()) return absl::InvalidArgumentError("--server must not be empty");
  if (timeout) {
    if (*timeout <= absl::ZeroDuration()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("--timeout must be more than 0, not %s", absl::FormatDuration(*timeout)));
    }
    options.timeout = absl::ToChronoMilliseconds(*timeout);
  }
  for (const std::string& pair : metadata) {
    const size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(
          absl::StrFormat("--metadata: \"%s\" is not KEY=VALUE", pair));
    }
    options.metadata.emplace_back(absl::AsciiStrToLower(pair.substr(0, equals)),
                                  pair.substr(equals + 1));
  }
  if (absl::Status status = Validate(options); !status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--metadata: %s", std::string(status.message())));
  }
  return absl::OkStatus();
}

}  // namespace skipstone::client
