#include "client/cli/connection_flags.h"

#include <grpcpp/security/credentials.h>

#include <tuple>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/read_file.h"
#include "base/status.h"
#include "client/channel.h"

namespace skipstone::client {

void ConnectionFlags::AddTo(FlagSet& flags) {
  flags.Add("server", &server, "HOST:PORT or gRPC target");
  flags.Add("timeout", &timeout,
            "deadline of each call, such as 500ms or 30s; default none, but a server that is away "
            "is waited for 10s");
  flags.AddList("metadata", &metadata, "KEY=VALUE sent with each call; may be repeated");
  flags.Add("tls", &tls, "encrypted, the server's certificate is checked");
  flags.Add("tls_ca", &tls_ca, "with --tls: PEM file of whom to trust; default: as this host does");
  flags.Add("tls_cert", &tls_cert, "with --tls: PEM file, the certificate of this client");
  flags.Add("tls_key", &tls_key, "with --tls: PEM file, its private key");
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
  if (!tls && !(tls_ca.empty() && tls_cert.empty() && tls_key.empty())) {
    return absl::InvalidArgumentError("--tls_ca, --tls_cert and --tls_key take --tls");
  }
  if (tls_cert.empty() != tls_key.empty()) {
    return absl::InvalidArgumentError("--tls_cert and --tls_key: give both");
  }
  if (absl::Status status = Validate(options); !status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--metadata: %s", std::string(status.message())));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> ConnectionFlags::Connect() const {
  if (!tls) return MakeChannel(server);
  grpc::SslCredentialsOptions options;
  const std::tuple<const char*, const std::string&, std::string&> files[] = {
      {"--tls_ca", tls_ca, options.pem_root_certs},
      {"--tls_cert", tls_cert, options.pem_cert_chain},
      {"--tls_key", tls_key, options.pem_private_key}};
  for (const auto& [flag, path, text] : files) {
    if (path.empty()) continue;
    SKIPSTONE_ASSIGN_OR_RETURN(text, ReadFile(flag, path));
  }
  return MakeChannel(server, grpc::SslCredentials(options));
}

}  // namespace skipstone::client
