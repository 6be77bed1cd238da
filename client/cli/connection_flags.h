// The flags that every command has: which server, how long, with what metadata, in what form.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/call_options.h"
#include "client/cli/flag_set.h"

namespace skipstone::client {

struct ConnectionFlags {
  std::string server = "localhost:50051";
  std::optional<absl::Duration> timeout;
  std::vector<std::string> metadata;  // KEY=VALUE
  bool json = false;

  void AddTo(FlagSet& flags);
  // Errors: a malformed KEY=VALUE, a timeout that is not positive.
  absl::StatusOr<CallOptions> ToCallOptions() const;
};

}  // namespace skipstone::client
