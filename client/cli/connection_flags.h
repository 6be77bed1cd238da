// The flags that every command has: which server, how long, with what metadata, in what form.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/flag_set.h"
#include "client/call_options.h"

namespace skipstone::client {

struct ConnectionFlags {
  std::string server = "localhost:50051";
  std::optional<absl::Duration> timeout;
  std::vector<std::string> metadata;  // KEY=VALUE
  bool tls = false;
  std::string tls_ca;    // PEM files; empty: the system's
  std::string tls_cert;  // of this client; with its key
  std::string tls_key;
  bool json = false;

  void AddTo(FlagSet& flags);
  void AddJsonTo(FlagSet& flags);  // that flag alone
  // Sets deadline and metadata. Errors name the flag: no server, a malformed KEY=VALUE, metadata
  // that cannot be sent, a timeout that is not positive.
  absl::Status ReadInto(CallOptions& options) const;
  // To the server. NOT_FOUND names the flag of a file that cannot be read.
  absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect() const;
};

}  // namespace skipstone::client
