// TLS of a port, by files that are read again when they change: a new certificate serves new
// connections, and those there are go on.
#pragma once

#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/port_settings.h"

namespace skipstone::server {

// Plaintext where no certificate is named. INVALID_ARGUMENT names setting and file: one without the
// other, unreadable, no PEM, the key of another certificate. What is in the files later is not
// checked: connections fail while it is wrong, and work again when it is right.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> CredentialsOf(
    const PortSettings& settings);

// When the first certificate in a PEM file ends. INVALID_ARGUMENT: there is none.
absl::StatusOr<absl::Time> CertificateEnd(const std::string& path);

}  // namespace skipstone::server
