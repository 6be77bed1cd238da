#include "server/tls.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdio>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace skipstone::server {
namespace {

// How often gRPC looks at the files.
constexpr unsigned kRefreshSeconds = 1;

absl::Status Wrong(const char* setting, const std::string& path, const char* what) {
  return absl::InvalidArgumentError(absl::StrFormat("--%s: \"%s\": %s", setting, path, what));
}

// In place of OpenSSL's question at the terminal, which would hold the start up.
int NoPassword(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

// What a handshake would find out, at the start.
absl::Status CheckFiles(const PortSettings& settings) {
  const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> tls(SSL_CTX_new(TLS_server_method()),
                                                         SSL_CTX_free);
  if (tls == nullptr) return absl::InternalError("TLS is not available");
  bool asked = false;
  SSL_CTX_set_default_passwd_cb(tls.get(), NoPassword);
  SSL_CTX_set_default_passwd_cb_userdata(tls.get(), &asked);
  if (SSL_CTX_use_certificate_chain_file(tls.get(), settings.tls_cert.c_str()) != 1) {
    return Wrong("tls_cert", settings.tls_cert, "no certificate can be read from it");
  }
  if (SSL_CTX_use_PrivateKey_file(tls.get(), settings.tls_key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return Wrong("tls_key", settings.tls_key,
                 asked ? "is protected by a password; give a key without one"
                       : "no private key of the certificate can be read from it");
  }
  if (settings.tls_client_ca.empty()) return absl::OkStatus();
  if (SSL_CTX_load_verify_locations(tls.get(), settings.tls_client_ca.c_str(), nullptr) == 1) {
    return absl::OkStatus();
  }
  return Wrong("tls_client_ca", settings.tls_client_ca, "no certificate can be read from it");
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> CredentialsOf(
    const PortSettings& settings) {
  if (settings.tls_cert.empty() != settings.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls_cert and --tls_key: give both");
  }
  if (settings.tls_cert.empty()) {
    if (settings.tls_client_ca.empty()) return grpc::InsecureServerCredentials();
    return absl::InvalidArgumentError("--tls_client_ca: takes --tls_cert");
  }
  SKIPSTONE_RETURN_IF_ERROR(CheckFiles(settings));
  using grpc::experimental::FileWatcherCertificateProvider;
  grpc::experimental::TlsServerCredentialsOptions options(
      settings.tls_client_ca.empty()
          ? std::make_shared<FileWatcherCertificateProvider>(settings.tls_key, settings.tls_cert,
                                                             kRefreshSeconds)
          : std::make_shared<FileWatcherCertificateProvider>(
                settings.tls_key, settings.tls_cert, settings.tls_client_ca, kRefreshSeconds));
  options.watch_identity_key_cert_pairs();
  if (!settings.tls_client_ca.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

absl::StatusOr<absl::Time> CertificateEnd(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "r"),
                                                             std::fclose);
  if (file == nullptr) return Wrong("tls_cert", path, "cannot be read");
  bool asked = false;
  const std::unique_ptr<X509, void (*)(X509*)> certificate(
      PEM_read_X509(file.get(), nullptr, NoPassword, &asked), X509_free);
  std::tm end = {};
  if (certificate == nullptr || ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end) != 1) {
    return Wrong("tls_cert", path, "no certificate can be read from it");
  }
  return absl::FromTM(end, absl::UTCTimeZone());
}

}  // namespace skipstone::server
